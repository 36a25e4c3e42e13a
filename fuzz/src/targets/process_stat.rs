//! `/proc/<pid>/stat`: a process chooses what its command is called, and so a part of the line.

use countersign_sidecar::start_time;

use super::material::{text, texts};

const STARTED: u64 = 4_242;

/// No name moves another number into the place of the start time.
pub fn run(data: &[u8]) -> bool {
    let Some(name) = text(data) else {
        return false;
    };
    let before = "1 ".repeat(18);
    let stat = format!("7 ({name}) S {before}{STARTED} 1 2 3");
    assert_eq!(start_time(&stat), Some(STARTED));
    // A line that is cut off, or another file.
    let _ = start_time(name);
    true
}

/// A plain name, and such as look like the rest of the line.
pub fn seeds() -> Vec<Vec<u8>> {
    texts(&["bash", "a) R 1 1 1 1", "(sd-pam)", ") S\n7 (b", ""])
}
