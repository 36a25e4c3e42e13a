use std::time::Duration;

use countersign_model::entitlement::ahead_of_demand;
use countersign_model::{EntitlementKind, RenewalWindow, Selector, SelectorSet, SpiffeId};
use proptest::prelude::*;

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn entitlement(number: u32) -> Entitlement {
    Entitlement {
        id: EntitlementId::parse(&format!("reg-{number:032x}")).unwrap(),
        spiffe_id: SpiffeId::new(&format!("spiffe://example.org/w{number}")).unwrap(),
        kind: EntitlementKind::Workload(SelectorSet::new([Selector::UnixUid(number)]).unwrap()),
        lifetime: Duration::from_secs(3_600),
        renew: RenewalWindow::default(),
        min_key_epoch: 0,
        hint: None,
        is_default: false,
        created_at: at(1_000 + i64::from(number)),
        created_seq: u64::from(number),
        backdate: Duration::from_secs(60),
    }
}

fn credential(issued: i64, secs: i64, random: u64) -> Credential {
    Credential {
        serial: Serial::new(0x01_0000, 1, random.to_be_bytes()).unwrap(),
        lifetime: Lifetime {
            issued_at: at(issued),
            not_after: at(issued + secs),
        },
        key_epoch: 0,
        installed_at: None,
        lost_its_root: false,
    }
}

fn item(entitlement: &Entitlement, held: Option<Credential>) -> Item<'_> {
    Item {
        entitlement,
        held,
        demanded: false,
        not_before: None,
    }
}

#[test]
fn eager_enrolment_stops_at_the_cap() {
    let rights: Vec<_> = (0..5).map(entitlement).collect();
    let items: Vec<_> = rights.iter().rev().map(|e| item(e, None)).collect();
    let plan = plan(&items, 2, at(5_000));
    assert_eq!(plan.enrol, [rights[0].id.clone(), rights[1].id.clone()]);
    assert_eq!(plan.wake, None);
}

#[test]
fn the_node_takes_no_place_under_the_cap() {
    let mut node = entitlement(9);
    node.id = EntitlementId::node();
    let rights: Vec<_> = (0..3).map(entitlement).collect();
    let mut items: Vec<_> = rights.iter().map(|e| item(e, None)).collect();
    items.push(item(&node, None));
    let plan = plan(&items, 1, at(5_000));
    assert_eq!(plan.enrol, [node.id.clone(), rights[0].id.clone()]);
    let ahead = ahead_of_demand(items.iter().map(|item| item.entitlement), 1);
    assert_eq!(ahead, plan.enrol.iter().collect(), "as it is told");
}

#[test]
fn demand_enrols_beyond_the_cap() {
    let rights: Vec<_> = (0..5).map(entitlement).collect();
    let mut items: Vec<_> = rights.iter().map(|e| item(e, None)).collect();
    items[4].demanded = true;
    assert_eq!(plan(&items, 0, at(5_000)).enrol, [rights[4].id.clone()]);
}

#[test]
fn the_default_identity_goes_first() {
    let mut rights: Vec<_> = (0..3).map(entitlement).collect();
    rights[2].is_default = true;
    let items: Vec<_> = rights.iter().map(|e| item(e, None)).collect();
    assert_eq!(plan(&items, 1, at(5_000)).enrol, [rights[2].id.clone()]);
}

#[test]
fn key_of_another_epoch_is_replaced_at_once() {
    let enrols = |made_for, epoch| {
        let mut right = entitlement(1);
        right.min_key_epoch = epoch;
        let mut held = credential(1_000, 3_600, 7);
        held.key_epoch = made_for;
        let enrol = plan(&[item(&right, Some(held))], 0, at(1_001)).enrol;
        enrol == [right.id]
    };
    assert!(enrols(0, 3), "the registration changed");
    assert!(enrols(9, 3), "it went back, or changed after a restore");
    assert!(!enrols(3, 3) && !enrols(0, 0));
}

#[test]
fn place_in_the_log_says_nothing_of_the_key_epoch() {
    let mut right = entitlement(1);
    right.min_key_epoch = 3;
    let mut held = credential(1_000, 3_600, 7);
    // It was logged after the change, for a key that was made before it.
    held.serial = Serial::new(0x01_0000, 4, [7; 8]).unwrap();
    let plan = plan(&[item(&right, Some(held))], 0, at(1_001));
    assert_eq!(plan.enrol, std::slice::from_ref(&right.id));
}

#[test]
fn an_expired_credential_is_still_renewed() {
    let right = entitlement(1);
    let held = credential(1_000, 20, 7);
    let plan = plan(&[item(&right, Some(held))], 0, at(1_000_000));
    assert_eq!(plan.enrol, std::slice::from_ref(&right.id));
}

#[test]
fn a_failure_holds_back_itself_alone() {
    let rights: Vec<_> = (0..2).map(entitlement).collect();
    let mut items: Vec<_> = rights.iter().map(|e| item(e, None)).collect();
    items[0].not_before = Some(at(5_004));
    let plan = plan(&items, 2, at(5_000));
    assert_eq!(plan.enrol, [rights[1].id.clone()]);
    assert_eq!(plan.wake, Some(at(5_004)));
}

#[test]
fn what_lost_its_root_is_due_at_once() {
    let right = entitlement(1);
    let young = Credential {
        installed_at: Some(at(1_000)),
        ..credential(1_000, 3_600, 0)
    };
    let due = |held| {
        !plan(&[item(&right, Some(held))], 1, at(1_001))
            .enrol
            .is_empty()
    };
    assert!(!due(young));
    let lost_its_root = true;
    assert!(due(Credential {
        lost_its_root,
        ..young
    }));
}

proptest! {
    #[test]
    fn a_renewal_starts_inside_its_window(
        random: u64, secs in 10i64..100_000, renew_at in 0.01f64..=0.9, epoch: u64,
    ) {
        let mut right = entitlement(1);
        right.renew = RenewalWindow::new(renew_at).unwrap();
        right.min_key_epoch = epoch;
        let mut held = credential(1_000, secs, random);
        held.key_epoch = epoch;
        let moment = right.renewal(&held.serial, &held.lifetime);
        let spent = moment.duration_since(at(1_000)).as_secs_f64() / secs as f64;
        prop_assert!(spent >= 0.8 * renew_at - 1e-6 && spent <= renew_at + 1e-6);
        prop_assert_eq!(moment, right.renewal(&held.serial, &held.lifetime), "drawn once");
        let before = plan(&[item(&right, Some(held))], 0, moment - Duration::from_millis(1));
        prop_assert!(before.enrol.is_empty());
        prop_assert_eq!(before.wake, Some(moment));
        prop_assert_eq!(plan(&[item(&right, Some(held))], 0, moment).enrol.len(), 1);
    }

    #[test]
    fn nothing_is_both_started_and_slept_for(
        states in proptest::collection::vec(
            (any::<bool>(), 0u64..3,
             proptest::option::of((0i64..9_000, 20i64..9_000, any::<u64>())),
             proptest::option::of(0i64..9_000)), 0..40),
        ahead in 0usize..50, now in 0i64..10_000,
    ) {
        let mut rights: Vec<_> = (0..40).map(entitlement).collect();
        rights.iter_mut().for_each(|right| right.min_key_epoch = 1);
        let items: Vec<_> = states.iter().zip(&rights).map(|((demanded, epoch, held, wait), e)| Item {
            entitlement: e,
            held: held.map(|(issued, secs, random)| Credential {
                key_epoch: *epoch,
                installed_at: None,
                ..credential(issued, secs, random)
            }),
            demanded: *demanded,
            not_before: wait.map(at),
        }).collect();
        let plan = plan(&items, ahead, at(now));
        prop_assert!(plan.wake.is_none_or(|wake| wake > at(now)));
        for item in &items {
            let started = plan.enrol.contains(&item.entitlement.id);
            let may_start = item.not_before.is_none_or(|wait| wait <= at(now));
            prop_assert!(!started || may_start);
            let is_of_another = item.held.is_some_and(|held| held.key_epoch != 1);
            prop_assert!(started || !is_of_another || !may_start);
        }
        let mut unique = plan.enrol.clone();
        unique.sort();
        unique.dedup();
        prop_assert_eq!(unique.len(), plan.enrol.len());
        // Looking again at the promised moment always finds something to start.
        if let Some(wake) = plan.wake {
            prop_assert!(super::plan(&items, ahead, wake).enrol.len() > plan.enrol.len());
        }
    }
}

/// Either of the two clocks is wrong by so much that what arrives is due at once.
#[test]
fn clocks_that_disagree_cause_no_storm_of_renewals() {
    const LIFE: i64 = 3_600;
    let right = entitlement(1);
    // From what keeps the usual window to what has nearly expired when it arrives.
    for ahead in [0, 1_300, 1_800, 3_000, 3_599] {
        let (mut now, mut renewals) = (10_000, 0);
        let mut held = credential(now - ahead, LIFE, u64::MAX / 2);
        held.installed_at = Some(at(now));
        let end = now + LIFE;
        while now < end {
            let plan = plan(&[item(&right, Some(held))], 1, at(now));
            if plan.enrol.is_empty() {
                now = plan.wake.unwrap().as_second() + 1;
                continue;
            }
            assert!(
                ahead == 3_599 || at(now) < held.lifetime.not_after,
                "{ahead}"
            );
            renewals += 1;
            held = credential(now - ahead, LIFE, u64::MAX / 2);
            held.installed_at = Some(at(now));
        }
        assert!((2..=61).contains(&renewals), "{ahead}: {renewals}");
    }
}

/// A clock that was ahead when the credential came, and is right now.
#[test]
fn clock_that_is_set_back_delays_no_renewal() {
    let right = entitlement(1);
    let mut held = credential(0, 3_600, 0);
    held.installed_at = Some(at(1_000_000));
    let plan = plan(&[item(&right, Some(held))], 1, at(3_000));
    assert_eq!(plan.enrol, std::slice::from_ref(&right.id));
}
