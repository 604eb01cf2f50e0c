//! How long the allocator keeps pages that nobody uses.
#![allow(unsafe_code)]

use libmimalloc_sys::{mi_option_set, mi_option_t};
use std::ffi::c_long;

/// `mi_option_purge_delay` of mimalloc.h, which the binding does not name: milliseconds, ten times as many for whole spans.
const PURGE_DELAY: mi_option_t = 15;
const MILLISECONDS: c_long = 10;

/// Freed pages go back to the system after a tenth of a second instead of ten: buffers of batches and checkpoints come and go on all threads, and what
/// one has freed is not what another allocates next. The figure is in docs/performance.md. To be called before there are threads.
pub fn give_back_soon() {
    // SAFETY: sets one number of the library's; the option exists in this version (see the test).
    unsafe { mi_option_set(PURGE_DELAY, MILLISECONDS) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_is_the_delay_of_purging() {
        // SAFETY: reads one number of the library's.
        let delay = || unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) };
        assert_eq!(delay(), 1000, "the default of mimalloc 3; another number: another option, or another version");
        give_back_soon();
        assert_eq!(delay(), MILLISECONDS);
    }
}
