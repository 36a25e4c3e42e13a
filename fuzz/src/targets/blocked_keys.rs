//! The operator's list of blocked keys.

use countersign_control_plane::doors::readers;

use super::material::texts;

/// No list names more keys than it has lines.
pub fn run(data: &[u8]) -> bool {
    let taken = readers::blocked_keys(data);
    if let Some(count) = taken {
        assert!(count <= data.split(|byte| *byte == b'\n').count());
    }
    taken.is_some()
}

/// With comments, notes and line ends of another system.
pub fn seeds() -> Vec<Vec<u8>> {
    let (one, two) = ("0a".repeat(32), "FF".repeat(32));
    let noted = format!("# of the incident\n\n{two}\n  {one}  web, 2026-11\r\n{two}");
    texts(&[&one, &noted, ""])
}
