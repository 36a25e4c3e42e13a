use std::sync::{Arc, Mutex};

use super::*;

fn others(seqs: impl IntoIterator<Item = u64>) -> Vec<Committed> {
    let commit = |seq| Committed {
        seq: Seq(seq),
        ..Committed::default()
    };
    seqs.into_iter().map(commit).collect()
}

fn own(handing: &mut Handing, seqs: impl IntoIterator<Item = u64>) {
    let commits = seqs.into_iter().map(|seq| (Seq(seq), Then::new(|_| ())));
    handing.give_own(commits).unwrap();
}

/// What is taken after a commit.
fn taken(handing: &mut Handing, from: u64) -> Arc<Mutex<Vec<u64>>> {
    let taken = Arc::<Mutex<Vec<u64>>>::default();
    let to = Arc::clone(&taken);
    let (asked, _begun) = HandOver::new(Seq(from), move |commit| {
        to.lock().unwrap().push(commit.seq.0);
    });
    handing.begin(asked);
    taken
}

#[test]
fn own_commits_from_before_are_left_out() {
    let mut handing = Handing::new(Seq(3), true);
    own(&mut handing, [4, 5, 8]);
    assert_eq!(*handing.seen().borrow(), Seq(5), "6 was of another");
    let taken = taken(&mut handing, 3);
    assert_eq!(*handing.seen().borrow(), Seq(5), "it does not go back");
    assert!(handing.is_behind(Seq(4)) && !handing.is_behind(Seq(3)));
    handing.give(others(4..10)).unwrap();
    assert_eq!(*taken.lock().unwrap(), [6, 7, 9]);
    assert_eq!(*handing.seen().borrow(), Seq(9));
}

#[test]
fn commit_is_not_taken_again() {
    let mut handing = Handing::new(Seq(0), true);
    let taken = taken(&mut handing, 2);
    handing.give(others(1..5)).unwrap();
    own(&mut handing, [5]);
    handing.give(others(3..7)).unwrap();
    assert_eq!(*taken.lock().unwrap(), [3, 4, 6]);
}

#[test]
fn remembered_stretches_are_bounded() {
    let mut handing = Handing::new(Seq(0), true);
    let stretches = STRETCHES as u64 + 1;
    own(&mut handing, (1..=stretches).map(|n| 2 * n));
    assert_eq!(handing.own.known.len(), STRETCHES);
    for (from, is_known) in [(2, true), (1, false)] {
        let (asked, _begun) = HandOver::new(Seq(from), |_| ());
        assert_eq!(handing.begin(asked), is_known, "from {from}");
    }
    let mut alone = Handing::new(Seq(0), false);
    own(&mut alone, [2, 4]);
    assert_eq!(alone.own.known.len(), 0, "where nobody else commits");
}

#[test]
fn commit_that_panics_is_not_handed_over() {
    let mut handing = Handing::new(Seq(0), true);
    let commits = [(Seq(1), Then::new(|_| panic!("a test says so")))];
    assert_eq!(handing.give_own(commits.into_iter()), Err(NotTaken(Seq(1))));
    let (asked, _begun) = HandOver::new(Seq(0), |_| panic!("a test says so"));
    handing.begin(asked);
    assert_eq!(handing.give(others([2])), Err(NotTaken(Seq(2))));
    assert_eq!((handing.seq(), *handing.seen().borrow()), (Seq(0), Seq(0)));
}
