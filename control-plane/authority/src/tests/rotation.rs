use countersign_fleet::Event;
use countersign_fleet::gate::GateOpen;

use super::super::SlotState;
use super::*;

fn states(plane: &Plane) -> (Vec<SlotState>, Vec<SlotState>) {
    let (roots, issuing) = plane.authority.authorities();
    let states = |cas: Vec<super::super::AuthorityInfo>| cas.iter().map(|ca| ca.state).collect();
    (states(roots), states(issuing))
}

#[tokio::test]
async fn new_issuing_ca_leaves_the_bundle_alone() {
    let plane = Plane::new().await;
    let node = plane.attest("/node/a").await;
    let before = plane.enrol(&node, &EntitlementId::node()).await;
    let bundle = plane.authority.bundle();
    let mut changes = plane.authority.changes();
    let active = plane.authority.rotate_issuing(after(1)).await.unwrap();
    assert_eq!(changes.try_recv().unwrap(), Event::Authorities);
    assert_eq!(plane.authority.bundle().0.version(), bundle.0.version());
    assert_eq!(plane.authority.bundle().1, bundle.1);
    let after_it = plane.enrol(&node, &EntitlementId::node()).await;
    assert_eq!(after_it.chain()[1], active.certificate);
    assert_ne!(before.chain()[1], after_it.chain()[1]);
    for svid in [before, after_it] {
        certificates::verify(&plane, &svid.chain(), after(2));
    }
    let (_, issuing) = states(&plane);
    assert_eq!(issuing, [SlotState::Active, SlotState::Retired]);
}

#[tokio::test]
async fn key_that_cannot_be_destroyed_hides_no_rotation() {
    let plane = Plane::new().await;
    let (_, issuing) = plane.authority.authorities();
    let keys = plane.dir.path().join("cp/keys");
    let old = keys.join(format!("{}.pem", issuing[0].key_id));
    std::fs::remove_file(&old).unwrap();
    std::fs::create_dir(&old).unwrap();
    let mut changes = plane.authority.changes();
    let made = plane.authority.rotate_issuing(after(1)).await.unwrap();
    assert_eq!(changes.try_recv().unwrap(), Event::Authorities);
    assert_eq!(plane.authority.authorities().1[0].key_id, made.key_id);
}

/// Prepared while the clock was ahead: everybody has it, and nobody would take what it signs.
#[tokio::test]
async fn root_that_is_not_valid_yet_signs_nothing() {
    let plane = Plane::new().await;
    let ahead = after(2 * 3_600);
    plane.authority.prepare_root(ahead).await.unwrap();
    let version = plane.authority.bundle().0.version().to_owned();
    let activate = async |now| {
        let gate = GateOpen::for_test(&version);
        plane.authority.activate_root(gate, now).await
    };
    let refused = activate(after(1)).await.unwrap_err().to_string();
    assert!(refused.contains("is not valid before"), "{refused}");
    let states_of_roots = states(&plane).0;
    assert_eq!(states_of_roots, [SlotState::Prepared, SlotState::Active]);
    activate(ahead).await.unwrap();
}

#[tokio::test]
async fn root_is_activated_only_through_its_gate() {
    let plane = Plane::new().await;
    let node = plane.attest("/node/a").await;
    let old = plane.enrol(&node, &EntitlementId::node()).await;
    let before = plane.authority.bundle();
    let stale = GateOpen::for_test(before.0.version());
    let prepared = plane.authority.prepare_root(after(1)).await.unwrap();
    let resumed = plane.authority.prepare_root(after(2)).await.unwrap();
    assert_eq!(prepared.key_id, resumed.key_id);
    let (bundle, sequence) = plane.authority.bundle();
    assert_eq!((bundle.roots().len(), sequence), (2, before.1 + 1));
    let refused = plane.authority.activate_root(stale, after(3)).await;
    assert_eq!(code(refused), "gate_of_other_bundle");

    let plane = plane.restart(after(4)).await;
    assert_eq!(
        plane.authority.prepared_root().unwrap().key_id,
        prepared.key_id
    );
    let gate = GateOpen::for_test(bundle.version());
    let active = plane.authority.activate_root(gate, after(5)).await.unwrap();
    assert_eq!(
        (active.key_id, active.state),
        (prepared.key_id, SlotState::Active)
    );
    assert_eq!(plane.authority.bundle().0.version(), bundle.version());
    let new = plane.enrol(&node, &EntitlementId::node()).await;
    for svid in [&old, &new] {
        certificates::verify(&plane, &svid.chain(), after(6));
    }
    assert_eq!(states(&plane).0, [SlotState::Active, SlotState::Retired]);
}

#[tokio::test]
async fn retired_root_stays_while_something_lives_under_it() {
    let plane = Plane::new().await;
    let node = plane.attest("/node/a").await;
    let svid = plane.enrol(&node, &EntitlementId::node()).await;
    plane.authority.prepare_root(after(1)).await.unwrap();
    let gate = GateOpen::for_test(plane.authority.bundle().0.version());
    plane.authority.activate_root(gate, after(2)).await.unwrap();
    let plane = plane.restart(after(3)).await;
    let last = svid.lifetime.not_after;
    plane.authority.tick(last).await.unwrap();
    assert_eq!(plane.authority.bundle().0.roots().len(), 2);
    let later = last + SignedDuration::from_secs(61);
    plane.authority.tick(later).await.unwrap();
    assert_eq!(plane.authority.bundle().0.roots().len(), 1);
    let keys = plane.dir.path().join("cp/keys").read_dir().unwrap().count();
    assert_eq!(keys, 2, "keys that may not sign are destroyed");
}

#[tokio::test]
async fn time_rotates_the_issuing_ca_at_half_its_life() {
    let plane = Plane::new().await;
    plane.authority.tick(after(43_198)).await.unwrap();
    assert_eq!(states(&plane).1.len(), 1);
    plane.authority.tick(after(43_201)).await.unwrap();
    assert_eq!(plane.authority.authorities().1[0].state, SlotState::Active);
    assert_eq!(plane.authority.issued_total(), 3);
}

#[tokio::test]
async fn time_prepares_the_next_root() {
    let plane = Plane::new().await;
    let day = 86_400;
    plane.authority.tick(after(3_041 * day)).await.unwrap();
    assert!(plane.authority.prepared_root().is_none());
    plane.authority.tick(after(3_042 * day)).await.unwrap();
    assert!(plane.authority.prepared_root().is_some());
    assert_eq!(
        states(&plane).0.len(),
        2,
        "its activation stays with the gate"
    );
}
