//! Counts what this program has on its heap, and the most that it ever had.
//!
//! Counts Rust's allocations. SQLite and zstd allocate in C, which only the
//! resident memory of the process shows; both are measured.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

#[global_allocator]
static HEAP: Counting = Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// Passes everything on to the system's allocator.
struct Counting;

#[expect(unsafe_code, reason = "the trait is unsafe; each call goes on as it came")]
// SAFETY: every method hands its arguments to `System` unchanged and returns what
// that returns, so its guarantees are kept; the counters never allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: the caller keeps to the contract of `alloc`, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the block came from `System` with this very layout.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        add(size);
        // SAFETY: the block came from `System` with this very layout.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

fn add(bytes: usize) {
    let now = NOW.fetch_add(bytes, Ordering::Relaxed) + bytes;
    PEAK.fetch_max(now, Ordering::Relaxed);
}

/// The most bytes that the heap held since the last call, and forgets them.
pub(crate) fn take_peak() -> usize {
    PEAK.swap(NOW.load(Ordering::Relaxed), Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_that_is_gone_still_counts() {
        take_peak();
        drop(vec![1_u8; 50 << 20]);
        assert!(take_peak() >= 50 << 20);
    }
}
