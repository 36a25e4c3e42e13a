use proptest::prelude::*;

use super::*;

const NOW: i64 = 1_000_000;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// Joined long ago, heard of 2 s ago, and with a CA.
fn live() -> ReplicaFacts {
    ReplicaFacts {
        membership: Membership::Joined(at(0)),
        heard: Some(heard(2)),
        fenced: None,
        issues_until: Some(at(NOW + 3_600)),
    }
}

fn heard(secs_ago: u64) -> Heard {
    Heard {
        ago: Some(Duration::from_secs(secs_ago)),
        at: at(NOW - i64::try_from(secs_ago).unwrap()),
        sequence: 700,
        newest: 700,
    }
}

fn said(facts: ReplicaFacts) -> (&'static str, Option<i64>, bool) {
    let standing = facts.standing(at(NOW));
    let since = standing.since.map(Timestamp::as_second);
    (standing.state, since, standing.needs_attention)
}

#[test]
fn row_of_a_replica_has_one_state_and_its_cause() {
    let is = |membership| ReplicaFacts {
        membership,
        ..live()
    };
    let hears = |it| ReplicaFacts {
        heard: it,
        ..live()
    };
    let new = |heard| ReplicaFacts {
        heard,
        issues_until: None,
        ..is(Membership::Joined(at(NOW - 10)))
    };
    let of = |heard| ReplicaFacts { heard, ..live() };
    for (facts, expected) in [
        (live(), ("live", Some(0), false)),
        (
            is(Membership::Invited(at(NOW + 60))),
            ("invited", Some(NOW + 60), false),
        ),
        (
            is(Membership::Invited(at(NOW - 60))),
            ("invitation_over", Some(NOW - 60), false),
        ),
        (is(Membership::Sealed(at(7))), ("sealed", Some(7), false)),
        (
            ReplicaFacts {
                fenced: Some(at(NOW - 90)),
                ..live()
            },
            ("fenced", Some(NOW - 90), true),
        ),
        (new(None), ("joining", Some(NOW - 10), false)),
        (
            new(Some(heard(1))),
            ("without_issuing_ca", Some(NOW - 10), false),
        ),
        (hears(None), ("joining", Some(0), true)),
        (of(Some(heard(15))), ("live", Some(0), false)),
        (of(Some(heard(16))), ("silent", Some(NOW - 16), true)),
        (
            ReplicaFacts {
                issues_until: Some(at(NOW - 5)),
                ..live()
            },
            ("without_issuing_ca", Some(NOW - 5), true),
        ),
        (
            ReplicaFacts {
                issues_until: None,
                ..live()
            },
            ("without_issuing_ca", Some(0), true),
        ),
    ] {
        assert_eq!(said(facts), expected, "{facts:?}");
    }
    let behind = Heard {
        newest: 700 + BEHIND + 1,
        ..heard(1)
    };
    assert_eq!(said(of(Some(behind))), ("behind", None, true));
}

#[test]
fn clock_of_a_replica_is_told_while_it_is_heard_of() {
    let ahead = |by: i64, secs_ago| {
        let heard = Heard {
            at: heard(secs_ago).at + SignedDuration::from_secs(by),
            ..heard(secs_ago)
        };
        ReplicaFacts {
            heard: Some(heard),
            ..live()
        }
    };
    for by in [-7_200, 21, 7_200] {
        let standing = ahead(by, 3).standing(at(NOW));
        assert_eq!(standing.state, "clock_differs");
        assert_eq!(standing.clock_ahead.unwrap().as_secs(), by);
    }
    assert_eq!(ahead(20, 3).standing(at(NOW)).state, "live");
    let gone = ahead(7_200, 16).standing(at(NOW));
    assert_eq!((gone.state, gone.clock_ahead), ("silent", None));
    assert_eq!(gone.since, Some(at(NOW - 16)), "by the own clock");
}

#[test]
fn replica_that_was_found_at_a_start_is_judged_by_its_word_alone() {
    let found = |at: Timestamp| {
        let heard = Heard {
            ago: None,
            at,
            ..heard(0)
        };
        ReplicaFacts {
            heard: Some(heard),
            ..live()
        }
    };
    let fresh = found(at(NOW - 4)).standing(at(NOW));
    assert_eq!((fresh.state, fresh.clock_ahead), ("live", None));
    let old = found(at(NOW - 400)).standing(at(NOW));
    assert_eq!((old.state, old.since), ("silent", Some(at(NOW - 400))));
}

prop_compose! {
    fn any_facts()(
        kind in 0..3u8,
        times in proptest::array::uniform4(NOW - 100_000..NOW + 100_000),
        ago in proptest::option::of(0..100_000u64),
        (has_heard, is_fenced, issues) in any::<(bool, bool, bool)>(),
        (sequence, newest) in (0..100_000u64, 0..100_000u64),
    ) -> ReplicaFacts {
        let [of_name, said, fenced, end] = times.map(at);
        let membership = match kind {
            0 => Membership::Invited(of_name),
            1 => Membership::Joined(of_name),
            _ => Membership::Sealed(of_name),
        };
        let heard = Heard { ago: ago.map(Duration::from_secs), at: said, sequence, newest };
        ReplicaFacts {
            membership,
            heard: has_heard.then_some(heard),
            fenced: is_fenced.then_some(fenced),
            issues_until: issues.then_some(end),
        }
    }
}

proptest! {
    /// Whoever reads as live was heard of, issues and agrees about the time; nobody who is silent, fenced or
    /// sealed takes part.
    #[test]
    fn no_other_replica_reads_as_live(facts in any_facts()) {
        let (now, standing) = (at(NOW), facts.standing(at(NOW)));
        if standing.state == "live" {
            prop_assert!(facts.is_live(now) && facts.fenced.is_none());
            prop_assert!(facts.issues_until.is_some_and(|end| end >= now));
            prop_assert!(!standing.needs_attention);
        }
        if ["silent", "fenced", "sealed", "invited", "invitation_over", "joining"].contains(&standing.state) {
            prop_assert!(!facts.is_live(now), "{:?}", standing);
        }
        if standing.state == "silent" {
            prop_assert!(standing.needs_attention && standing.since.is_some());
        }
    }
}
