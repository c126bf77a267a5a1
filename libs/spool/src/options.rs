//! What a buffer may hold and how far it reads ahead.
//!
//! Owns: the limits and their defaults. Never: a limit that holds nonsense unnoticed ([`OptionsError`]).

use crate::disk::{Disk, OsDisk};
use std::path::PathBuf;
use std::sync::Arc;

/// How far the source is pulled beyond what readers wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    /// Not at all: a byte is pulled when somebody waits for it.
    OnDemand,
    /// Up to `bytes` ahead of the farthest byte that was read so far.
    Ahead {
        /// The lead, bytes.
        bytes: u64,
    },
    /// To the end of the source, whoever reads.
    All,
}

/// Limits and manners of one buffer. Sizes are bytes.
#[derive(Debug, Clone)]
pub struct SpoolOptions {
    /// How long the source says it is. A hint only: the source's own end decides.
    pub size_hint: Option<u64>,
    /// The most content in memory; what is more goes to disk, oldest page first. While a buffer fills it works in
    /// three pages, so less than that is not kept to. 5 MiB.
    pub memory_bytes_max: u64,
    /// The unit in which content moves to disk and is handed out without a copy. It is lowered to a quarter of
    /// `memory_bytes_max`, though not below 4 KiB. 256 KiB.
    pub page_bytes: usize,
    /// The most content on disk; a buffer that needs more stops filling, see [`crate::SpillError`]. 16 GiB.
    pub disk_bytes_max: u64,
    /// What must stay free on the file system. 256 MiB.
    pub disk_reserve_bytes: u64,
    /// Where the file is made, without a name. The system's directory for temporary files.
    pub dir: PathBuf,
    /// How far the source is pulled. 1 MiB ahead.
    pub fill: Fill,
    /// The file operations; tests put faults in.
    pub disk: Arc<dyn Disk>,
}

impl Default for SpoolOptions {
    fn default() -> Self {
        Self {
            size_hint: None,
            memory_bytes_max: 5 << 20,
            page_bytes: 256 << 10,
            disk_bytes_max: 16 << 30,
            disk_reserve_bytes: 256 << 20,
            dir: std::env::temp_dir(),
            fill: Fill::Ahead { bytes: 1 << 20 },
            disk: Arc::new(OsDisk),
        }
    }
}

/// Options that cannot be kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// Pages without content.
    #[error("page_bytes is 0; give at least 1, and 4096 or more for speed")]
    NoPage,
    /// A page larger than one read should copy.
    #[error("page_bytes is {asked}, the limit is {limit}: readers may hold a page each")]
    PageTooLarge {
        /// What was asked, bytes.
        asked: usize,
        /// The most, bytes.
        limit: usize,
    },
}

/// The largest page, bytes.
pub const PAGE_BYTES_MAX: usize = 64 << 20;

impl SpoolOptions {
    /// The page that is used: `page_bytes`, at most a quarter of the memory, so that there are pages to spill.
    pub(crate) fn page(&self) -> Result<usize, OptionsError> {
        if self.page_bytes == 0 {
            return Err(OptionsError::NoPage);
        }
        if self.page_bytes > PAGE_BYTES_MAX {
            return Err(OptionsError::PageTooLarge { asked: self.page_bytes, limit: PAGE_BYTES_MAX });
        }
        let quarter = usize::try_from(self.memory_bytes_max / 4).unwrap_or(usize::MAX);
        // A limit of nearly nothing means "to disk at once", in pages that are still worth a system call.
        Ok(self.page_bytes.min(quarter.max(PAGE_BYTES_MIN)))
    }
}

/// The limit on memory does not make pages smaller than this, bytes.
const PAGE_BYTES_MIN: usize = 4 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_at_most_a_quarter_of_the_memory_and_never_nothing() {
        let of = |memory_bytes_max, page_bytes| {
            SpoolOptions { memory_bytes_max, page_bytes, ..SpoolOptions::default() }.page()
        };
        assert_eq!(of(5 << 20, 256 << 10), Ok(256 << 10));
        assert_eq!(of(64 << 10, 256 << 10), Ok(16 << 10));
        assert_eq!(of(0, 256 << 10), Ok(PAGE_BYTES_MIN));
        assert_eq!(of(0, 7), Ok(7));
        assert_eq!(of(1 << 30, 0), Err(OptionsError::NoPage));
        let limit = PAGE_BYTES_MAX;
        assert_eq!(of(1 << 40, limit + 1), Err(OptionsError::PageTooLarge { asked: limit + 1, limit }));
    }
}
