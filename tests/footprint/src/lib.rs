//! How many bytes something keeps: tests that name this crate count what is allocated. What the
//! allocator adds to that, about a fifth, is not counted.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "for tests, which end where something is not as it must be"
)]

use std::alloc::System;
use std::process::Command;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static COUNTED: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Tells the process that was started for one test.
const ALONE: &str = "COUNTERSIGN_ALONE";

/// Runs a test, named as the test binary names it, in a process of its own: what is counted is
/// counted for the whole process, and tests run beside each other.
pub fn alone(test: &str, measure: impl FnOnce()) {
    if std::env::var_os(ALONE).is_some() {
        return measure();
    }
    let child = Command::new("/proc/self/exe")
        .args(["--exact", test, "--nocapture"])
        .env(ALONE, "1")
        .output();
    let child = child.unwrap();
    let (stdout, stderr) = (
        String::from_utf8_lossy(&child.stdout),
        String::from_utf8_lossy(&child.stderr),
    );
    eprint!("{stderr}");
    assert!(child.status.success(), "{stdout}\n{stderr}");
    assert!(stdout.contains("1 passed"), "no such test: {test}");
}

/// What `make` made, and how many bytes were allocated for it and not given back. Only where
/// nothing else runs: see [`alone`].
pub fn kept_by<T>(make: impl FnOnce() -> T) -> (T, usize) {
    let region = Region::new(COUNTED);
    let made = make();
    let change = region.change();
    let given_back = change.bytes_deallocated;
    (made, change.bytes_allocated.saturating_sub(given_back))
}
