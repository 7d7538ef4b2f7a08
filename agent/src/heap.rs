//! How the agent keeps its memory: one heap, and what is freed goes back.
//!
//! A dozen threads that mostly sleep would each get a heap of their own from glibc,
//! and each would keep what its largest batch took. Set in the program, so that it
//! holds however the agent is started.

/// Bytes that may lie free at the end of the heap before the kernel gets them back.
/// Setting it also keeps glibc from raising the size above which a block is mapped
/// by itself (man 3 mallopt): buffers of a megabyte go back when they are freed.
#[cfg(target_env = "gnu")]
const TRIM_THRESHOLD_BYTES: i32 = 128 << 10;

/// Bounds the heap. To be called before the first thread is started.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "the allocator of the C library is set by a call to it")]
pub(crate) fn bound() {
    // SAFETY: mallopt takes two numbers, changes parameters of the allocator alone,
    // and there is no other thread yet that could allocate meanwhile.
    let is_set = unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1) != 0
            && libc::mallopt(libc::M_TRIM_THRESHOLD, TRIM_THRESHOLD_BYTES) != 0
    };
    if !is_set {
        tracing::warn!("the C library does not let its heap be bounded");
    }
}

/// Other C libraries have one heap and give back what is freed.
#[cfg(not(target_env = "gnu"))]
pub(crate) fn bound() {}
