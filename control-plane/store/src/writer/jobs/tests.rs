use super::*;
use crate::LogEntry;

fn job(bytes: usize) -> Job {
    let entry = LogEntry {
        log_id: 0,
        index: 0,
        bytes: vec![0; bytes],
    };
    Job::Commit {
        commit: Commit {
            entries: vec![entry],
            ..Commit::default()
        },
        then: Then::new(|_| ()),
        reply: oneshot::channel().0,
    }
}

#[test]
fn bytes_of_a_transaction_are_bounded() {
    let third = BATCH_BYTES / 3;
    let jobs = [job(third), job(third), job(third), job(third)];
    assert_eq!(fitting(&jobs), 3);
    let large = [job(BATCH_BYTES + 1), job(1)];
    assert_eq!(fitting(&large), 1, "it is made alone");
}
