use proptest::prelude::*;

use super::*;
use crate::Write;

fn commits() -> impl Strategy<Value = Vec<Commit>> {
    let key = || prop::sample::select(vec!["a", "b", "c"]);
    let write = (key(), any::<bool>()).prop_map(|(key, is_put)| match is_put {
        true => Write::put(Kind::Token, key, &1),
        false => Write::remove(Kind::Token, key),
    });
    let precondition = (key(), prop::option::of(0..6_u64)).prop_map(|(key, seq)| match seq {
        None => Precondition::Absent(Kind::Token, key.to_owned()),
        Some(seq) => Precondition::Unchanged(Kind::Token, key.to_owned(), Seq(seq)),
    });
    let entry = (0..2_u32, 0..4_u64).prop_map(|(log_id, index)| LogEntry {
        log_id,
        index,
        bytes: Vec::new(),
    });
    let commit = (
        prop::collection::vec(write, 1..3),
        prop::collection::vec(precondition, 0..2),
        prop::collection::vec(entry, 0..3),
    );
    let commit = commit.prop_map(|(writes, preconditions, entries)| Commit {
        writes,
        preconditions,
        entries,
        signatures: Vec::new(),
    });
    prop::collection::vec(commit, 0..6)
}

/// What a database holds that is given one commit at a time.
fn one_by_one(commits: &[Commit]) -> Places {
    let (mut newest, mut held) = (Seq(0), Found::default());
    let mut places = Places::new();
    for commit in commits {
        let place = place(newest, std::slice::from_ref(commit), held.clone())[0];
        if let Ok(seq) = place {
            newest = seq;
            held.make(commit, seq);
        }
        places.push(place);
    }
    places
}

proptest! {
    /// A batch changes what a transaction costs, and nothing of what becomes of a commit.
    #[test]
    fn batch_is_as_its_commits_one_by_one(commits in commits()) {
        prop_assert_eq!(place(Seq(0), &commits, Found::default()), one_by_one(&commits));
    }

    /// Places follow each other without a hole, and a refused commit has none.
    #[test]
    fn places_follow_each_other(commits in commits(), newest in 0..100_u64) {
        let places = place(Seq(newest), &commits, Found::default());
        prop_assert_eq!(places.len(), commits.len());
        let taken: Vec<_> = places.iter().flatten().map(|seq| seq.0).collect();
        let expected: Vec<_> = (newest + 1..).take(taken.len()).collect();
        prop_assert_eq!(taken, expected);
    }
}

#[test]
fn entry_of_a_log_is_made_once() {
    let of = |indexes: &[u64]| Commit {
        entries: indexes
            .iter()
            .map(|index| LogEntry {
                log_id: 7,
                index: *index,
                bytes: Vec::new(),
            })
            .collect(),
        ..Commit::default()
    };
    let mut found = Found::default();
    found.entries.insert((7, 0));
    let commits = [of(&[1, 0]), of(&[1]), of(&[2, 2]), of(&[2, 1]), of(&[2])];
    let refused = |index| Err(Refusal::EntryExists { log_id: 7, index });
    let expected = [refused(0), Ok(Seq(1)), refused(2), refused(1), Ok(Seq(2))];
    assert_eq!(place(Seq(0), &commits, found), expected);
}
