//! The operator's list of blocked keys.

use countersign_issue::key::block_list::BlockList;

use super::material::texts;

/// No list names more keys than it has lines.
pub fn run(data: &[u8]) -> bool {
    let taken = BlockList::read(data);
    if let Ok(list) = &taken {
        assert!(list.count() <= data.split(|byte| *byte == b'\n').count());
    }
    taken.is_ok()
}

/// With comments, notes and line ends of another system.
pub fn seeds() -> Vec<Vec<u8>> {
    let (one, two) = ("0a".repeat(32), "FF".repeat(32));
    let noted = format!("# of the incident\n\n{two}\n  {one}  web, 2026-11\r\n{two}");
    texts(&[&one, &noted, ""])
}
