use countersign_model::{EntitlementKind, RenewalWindow, SpiffeId};

use super::*;

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
fn every_renewal_uses_a_fresh_key() {
    let mut renewals = Renewals::default();
    let first = renewals.start(&right(0), at(10)).unwrap();
    renewals.installed(&right(0).id, first.key_epoch);
    let next = renewals.start(&right(0), at(60)).unwrap();
    assert_ne!(first.key.spki(), next.key.spki());
}

#[test]
fn a_raised_epoch_discards_the_pending_key() {
    let mut renewals = Renewals::default();
    let first = renewals.start(&right(0), at(10)).unwrap();
    let next = renewals.start(&right(1), at(11)).unwrap();
    assert_ne!(first.key.spki(), next.key.spki());
    assert_eq!(next.key_epoch, 1);
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
