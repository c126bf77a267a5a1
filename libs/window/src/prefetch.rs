//! The processor's prefetch, which std has no safe form of. On other processors it is nothing.

#![allow(unsafe_code)]

const LINE: usize = 64;

/// Asks for every cache line of a value.
#[inline]
pub(crate) fn fetch<T>(value: &T) {
    lines(std::ptr::from_ref(value).cast(), size_of::<T>()); // unrolled: the size is known
}

/// Asks for every cache line of a slice.
#[inline]
pub(crate) fn fetch_slice<T>(values: &[T]) {
    lines(values.as_ptr().cast(), size_of_val(values));
}

/// Asks for the first cache line of some bytes.
#[inline]
pub(crate) fn fetch_bytes(bytes: &[u8]) {
    line(bytes.as_ptr());
}

#[inline(always)]
fn lines(at: *const u8, bytes: usize) {
    let mut offset = 0;
    while offset < bytes {
        line(at.wrapping_add(offset));
        offset += LINE;
    }
    line(at.wrapping_add(bytes.saturating_sub(1)));
}

#[inline]
#[cfg(target_arch = "x86_64")]
fn line(at: *const u8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: a prefetch reads nothing and never faults, whatever the address.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
}

#[inline]
#[cfg(not(target_arch = "x86_64"))]
fn line(_: *const u8) {}
