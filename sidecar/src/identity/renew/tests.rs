use countersign_model::{EntitlementKind, RenewalWindow, Serial, SpiffeId};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::holdings::Svid;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn right(min_key_epoch: u64) -> Entitlement {
    Entitlement {
        id: EntitlementId::node(),
        spiffe_id: SpiffeId::new("spiffe://example.org/node/a").unwrap(),
        kind: EntitlementKind::Node,
        lifetime: Duration::from_secs(100),
        renew: RenewalWindow::default(),
        min_key_epoch,
        hint: None,
        is_default: false,
        created_at: at(0),
        created_seq: 0,
        backdate: Duration::from_secs(60),
    }
}

#[test]
fn a_retry_uses_the_same_key() {
    let mut renewals = Renewals::default();
    let first = renewals.start(&right(0), at(10)).unwrap();
    renewals.failed(&right(0).id, at(11), 1.0);
    let again = renewals.start(&right(0), at(12)).unwrap();
    assert_eq!(first.key.spki(), again.key.spki());
}

#[test]
fn denied_key_is_replaced_later() {
    let mut renewals = Renewals::default();
    let first = renewals.start(&right(0), at(10)).unwrap();
    renewals.denied(&right(0).id, at(11), 1.0);
    assert_eq!(plan(&renewals, at(11)).enrol, [], "not at once");
    let next = renewals.start(&right(0), at(12)).unwrap();
    assert_ne!(first.key.spki(), next.key.spki());
}

#[test]
fn every_renewal_uses_a_fresh_key() {
    let mut renewals = Renewals::default();
    let first = renewals.start(&right(0), at(10)).unwrap();
    renewals.installed(&right(0).id, first.key_epoch, at(1));
    let next = renewals.start(&right(0), at(60)).unwrap();
    assert_ne!(first.key.spki(), next.key.spki());
}

#[test]
fn a_changed_epoch_discards_the_pending_key() {
    let mut renewals = Renewals::default();
    let mut keys = BTreeSet::new();
    for epoch in [0, 9, 3] {
        let pending = renewals.start(&right(epoch), at(10)).unwrap();
        assert_eq!(pending.key_epoch, epoch);
        let again = renewals.start(&right(epoch), at(11)).unwrap();
        assert_eq!(pending.key.spki(), again.key.spki(), "unchanged");
        keys.insert(pending.key.spki().to_vec());
    }
    assert_eq!(keys.len(), 3);
}

fn svid() -> Svid {
    Svid {
        id: right(0).spiffe_id,
        chain: Vec::new(),
        key: Vec::new().into(),
        serial: Serial::new(0x01_0000, 1, [0; 8]).unwrap(),
        lifetime: Lifetime {
            issued_at: at(0),
            not_after: at(100),
        },
    }
}

/// Whether a right is renewed long before its time, with a credential that is held.
fn renews(renewals: &Renewals, right: &Entitlement) -> bool {
    let held = Held {
        entitlement: Arc::new(right.clone()),
        svid: Some(Arc::new(svid())),
        problem: None,
    };
    let snapshot = Snapshot {
        entries: Arc::new([(right.id.clone(), held)].into()),
        ..Snapshot::default()
    };
    let plan = renewals.plan(&snapshot, &BTreeSet::new(), 1, at(1));
    !plan.enrol.is_empty()
}

/// Renews and installs, and says for which epoch.
fn renew(renewals: &mut Renewals, right: &Entitlement) -> u64 {
    let pending = renewals.start(right, at(1)).unwrap();
    renewals.installed(&right.id, pending.key_epoch, at(1));
    pending.key_epoch
}

#[test]
fn change_under_way_takes_one_more_renewal() {
    for (first, then) in [(3, 9), (9, 3)] {
        let mut renewals = Renewals::default();
        let pending = renewals.start(&right(first), at(1)).unwrap();
        // The right is another one when the chain of the old key arrives.
        renewals.installed(&right(then).id, pending.key_epoch, at(1));
        assert!(renews(&renewals, &right(then)));
        assert_eq!(renew(&mut renewals, &right(then)), then);
        assert!(!renews(&renewals, &right(then)));
    }
}

proptest! {
    // Epochs rise with changes and go back with a restore.
    #[test]
    fn each_change_of_the_epoch_renews_once(epochs in vec(0u64..4, 1..20)) {
        let mut renewals = Renewals::default();
        let mut made_for = renew(&mut renewals, &right(0));
        for epoch in epochs {
            prop_assert_eq!(renews(&renewals, &right(epoch)), epoch != made_for);
            if epoch != made_for {
                made_for = renew(&mut renewals, &right(epoch));
            }
            prop_assert!(!renews(&renewals, &right(epoch)), "one renewal is enough");
        }
    }
}

fn plan(renewals: &Renewals, now: Timestamp) -> Plan {
    let held = Held {
        entitlement: Arc::new(right(0)),
        svid: None,
        problem: None,
    };
    let snapshot = Snapshot {
        entries: Arc::new([(right(0).id, held)].into()),
        ..Snapshot::default()
    };
    renewals.plan(&snapshot, &BTreeSet::new(), 1, now)
}

#[test]
fn a_pushback_holds_every_enrolment_back() {
    let mut renewals = Renewals::default();
    let other = EntitlementId::parse(&format!("reg-{:032}", 1)).unwrap();
    assert_eq!(plan(&renewals, at(10)).enrol, [right(0).id]);
    renewals.pushed_back(&other, Duration::from_secs(5), at(10), 1.0);
    assert_eq!(plan(&renewals, at(14)).enrol, []);
    assert_eq!(plan(&renewals, at(14)).wake, Some(at(15)));
    assert_eq!(plan(&renewals, at(15)).enrol, [right(0).id]);
}

#[test]
fn a_key_certified_long_ago_is_not_used() {
    let mut renewals = Renewals::default();
    let first = renewals.start(&right(0), at(0)).unwrap();
    let life = Lifetime {
        issued_at: at(0),
        not_after: at(100),
    };
    renewals.answered(&right(0).id, life, at(1));
    let spki = |r: &mut Renewals, now| r.start(&right(0), now).unwrap().key.spki().to_vec();
    assert_eq!(spki(&mut renewals, at(20)), first.key.spki());
    assert_ne!(spki(&mut renewals, at(300)), first.key.spki());
}

/// What fails while the clock is ahead is tried again once the clock is right, and not two hours later.
#[test]
fn clock_that_was_set_back_holds_nothing_up() {
    let ahead = at(7_200);
    for fails in [Renewals::failed, Renewals::denied] {
        let mut renewals = Renewals::default();
        renewals.start(&right(0), ahead).unwrap();
        fails(&mut renewals, &right(0).id, ahead, 1.0);
        assert_eq!(plan(&renewals, ahead).enrol, [], "it waits");
        assert_eq!(plan(&renewals, at(10)).enrol, [right(0).id]);
    }
    let mut renewals = Renewals::default();
    let asked = Duration::from_secs(30);
    renewals.pushed_back(&right(0).id, asked, ahead, 0.0);
    assert_eq!(plan(&renewals, at(10)).enrol, [right(0).id]);
    // What is asked for by the right clock counts, although the other one would be longer.
    renewals.pushed_back(&right(0).id, asked, at(10), 0.0);
    assert_eq!(plan(&renewals, at(20)).enrol, []);
    assert_eq!(plan(&renewals, at(60)).enrol, [right(0).id]);
}
