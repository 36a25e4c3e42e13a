use proptest::prelude::*;

use super::*;

const HOUR: i64 = 3_600;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// Issued at 1000 for an hour, renewed at 2500.
fn held() -> Facts {
    Facts {
        refused: None,
        node: NodeStanding::Connected(at(500)),
        entitled_at: at(400),
        is_ahead: Some(true),
        svid: Some(SvidFacts {
            lifetime: Lifetime {
                issued_at: at(1_000),
                not_after: at(1_000 + HOUR),
            },
            renewal_due: at(2_500),
            is_acknowledged: true,
            outdated: None,
        }),
    }
}

fn said(facts: Facts, now: i64) -> (&'static str, Option<i64>, bool) {
    let it = facts.standing(at(now));
    (
        it.state,
        it.since.map(Timestamp::as_second),
        it.needs_attention,
    )
}

#[test]
fn a_certificate_is_held_then_overdue_then_expired() {
    for (now, expected) in [
        (1_000, ("held", Some(1_000), false)),
        (2_500, ("held", Some(1_000), false)),
        (2_501, ("overdue", Some(2_500), false)),
        (2_520, ("overdue", Some(2_500), true)),
        (4_600, ("overdue", Some(2_500), true)),
        (4_601, ("expired", Some(4_600), true)),
    ] {
        assert_eq!(said(held(), now), expected, "{now}");
    }
}

#[test]
fn what_is_not_acknowledged_is_looked_at_later() {
    let mut facts = held();
    facts.svid.as_mut().unwrap().is_acknowledged = false;
    assert_eq!(said(facts, 1_009), ("unacknowledged", Some(1_000), false));
    assert_eq!(said(facts, 1_010), ("unacknowledged", Some(1_000), true));
    // A node that has just come says again what it holds.
    facts.node = NodeStanding::Connected(at(2_000));
    assert_eq!(said(facts, 2_009), ("unacknowledged", Some(2_000), false));
}

#[test]
fn a_registration_that_nobody_holds_says_why() {
    let nobody = Facts {
        svid: None,
        ..held()
    };
    let node = |node| Facts { node, ..nobody };
    for (facts, expected) in [
        (nobody, ("awaited", Some(500), true)),
        (
            Facts {
                is_ahead: Some(false),
                ..nobody
            },
            ("not_asked_for", Some(400), false),
        ),
        (
            Facts {
                is_ahead: None,
                ..nobody
            },
            ("not_asked_for", Some(400), false),
        ),
        (
            node(NodeStanding::NeverAttested),
            ("never_attested", None, true),
        ),
        (node(NodeStanding::Away(None)), ("away", None, true)),
        (
            node(NodeStanding::Away(Some(at(600)))),
            ("away", Some(600), true),
        ),
        (
            node(NodeStanding::Evicted(at(610))),
            ("evicted", Some(610), true),
        ),
        (
            node(NodeStanding::Banned(at(620))),
            ("banned", Some(620), true),
        ),
        (
            Facts {
                refused: Some(Some(at(630))),
                ..nobody
            },
            ("refused", Some(630), true),
        ),
    ] {
        assert_eq!(said(facts, 1_000), expected);
    }
}

#[test]
fn what_a_change_made_old_is_said() {
    let mut facts = held();
    let mut outdated = |since| {
        facts.svid.as_mut().unwrap().outdated = Some(since);
        facts
    };
    let changed = outdated(Some(at(1_500)));
    assert_eq!(said(changed, 1_509), ("changed", Some(1_500), false));
    assert_eq!(said(changed, 1_510), ("changed", Some(1_500), true));
    assert_eq!(said(outdated(None), 1_500), ("changed", None, true));
}

fn moments() -> impl Strategy<Value = Timestamp> {
    (0i64..10_000).prop_map(at)
}

fn nodes() -> impl Strategy<Value = NodeStanding> {
    prop_oneof![
        moments().prop_map(NodeStanding::Connected),
        proptest::option::of(moments()).prop_map(NodeStanding::Away),
        Just(NodeStanding::NeverAttested),
        moments().prop_map(NodeStanding::Evicted),
        moments().prop_map(NodeStanding::Banned),
    ]
}

fn any_facts() -> impl Strategy<Value = Facts> {
    let svid = (
        0i64..10_000,
        1i64..5_000,
        0.0f64..0.9,
        any::<bool>(),
        proptest::option::of(proptest::option::of(moments())),
    )
        .prop_map(
            |(issued, length, share, is_acknowledged, outdated)| SvidFacts {
                lifetime: Lifetime {
                    issued_at: at(issued),
                    not_after: at(issued + length),
                },
                #[allow(clippy::cast_possible_truncation, reason = "below 5,000")]
                renewal_due: at(issued + (length as f64 * share) as i64),
                is_acknowledged,
                outdated,
            },
        );
    let refused = proptest::option::weighted(0.1, proptest::option::of(moments()));
    let is_ahead = proptest::option::of(any::<bool>());
    (
        refused,
        nodes(),
        moments(),
        is_ahead,
        proptest::option::of(svid),
    )
        .prop_map(|(refused, node, entitled_at, is_ahead, svid)| Facts {
            refused,
            node,
            entitled_at,
            is_ahead,
            svid,
        })
}

proptest! {
    /// No row looks alive whose node is not connected, whose right ended or whose certificate did.
    #[test]
    fn nothing_dead_looks_alive(facts in any_facts(), now in moments()) {
        let said = facts.standing(now);
        let is_alive = facts.node.is_connected()
            && facts.refused.is_none()
            && facts.svid.is_some_and(|svid| {
                now <= svid.lifetime.not_after && now <= svid.renewal_due
            });
        prop_assert!(said.state != "held" || is_alive);
        let is_dead = !facts.node.is_connected()
            || facts.refused.is_some()
            || facts.svid.is_some_and(|svid| now > svid.lifetime.not_after);
        prop_assert!(!is_dead || said.needs_attention, "{:?}", said);
    }

    /// While nothing happens, time alone takes no alarm back.
    #[test]
    fn time_alone_mends_nothing(facts in any_facts(), now in moments(), more in 0i64..10_000) {
        let later = facts.standing(now + jiff::SignedDuration::from_secs(more));
        // What is not acknowledged yet becomes overdue, which is a new wait.
        let renews = later.state == "overdue";
        prop_assert!(!facts.standing(now).needs_attention || later.needs_attention || renews);
    }

    /// A state that is young is not older than what it is about.
    #[test]
    fn attention_that_waits_comes_in_time(facts in any_facts(), now in moments()) {
        let said = facts.standing(now);
        if let (false, Some(since)) = (said.needs_attention, said.since)
            && ["awaited", "overdue", "unacknowledged"].contains(&said.state)
        {
            prop_assert!(now.duration_since(since) < SETTLING.try_into().unwrap());
        }
    }
}
