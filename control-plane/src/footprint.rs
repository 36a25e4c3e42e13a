//! How many bytes something keeps: the tests of this crate count what is allocated. What the
//! allocator adds to that, about a fifth, is not counted.

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static COUNTED: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What `make` made, and how many bytes were allocated for it and not given back. Whatever runs
/// beside it in this process is counted too: a bound leaves room for that.
pub(crate) fn kept_by<T>(make: impl FnOnce() -> T) -> (T, usize) {
    let region = Region::new(COUNTED);
    let made = make();
    let change = region.change();
    let given_back = change.bytes_deallocated;
    (made, change.bytes_allocated.saturating_sub(given_back))
}
