//! The allocator: jemalloc, which gives unused pages back after seconds, so that the resident set falls to
//! what is in use after a burst.
//!
//! `dirty_decay_ms` and `muzzy_decay_ms`: how long freed pages are kept for the next allocation;
//! `background_thread`: they go also while nothing is allocated. The environment variable `MALLOC_CONF`
//! overrides what stands here.

use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

const CONF: &[u8; 64] = b"background_thread:true,dirty_decay_ms:10000,muzzy_decay_ms:2000\0";

/// Read by jemalloc before `main`: a C string under the name it documents.
// An exported name is unsafe because two of one name would clash; jemalloc declares this one for us to define.
#[allow(unsafe_code)]
#[unsafe(export_name = "malloc_conf")]
static MALLOC_CONF: &[u8; 64] = CONF;

#[cfg(test)]
mod tests {
    #[test]
    fn the_allocator_reads_its_settings() {
        // Off unless MALLOC_CONF above was read.
        assert!(tikv_jemalloc_ctl::background_thread::read().unwrap());
    }
}
