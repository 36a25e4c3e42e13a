//! Which CAs there are, and where their keys live.

use std::collections::BTreeSet;

use countersign_fleet::gate::GateOpen;

use super::super::{AuthorityInfo, SlotState, StoreKind, Tiers};
use super::*;

const DAY: Duration = Duration::from_secs(86_400);

fn with_intermediate(settings: &mut Settings) {
    settings.hierarchy.intermediate = Some((StoreKind::Disk, 100 * DAY));
}

fn in_memory(settings: &mut Settings) {
    settings.hierarchy.issuing = StoreKind::Memory;
}

fn states(of: &[AuthorityInfo]) -> Vec<SlotState> {
    of.iter().map(|ca| ca.state).collect()
}

async fn node_svid(plane: &Plane) -> Arc<PublishedSvid> {
    let node = plane.attest("/node/a").await;
    plane.enrol(&node, &EntitlementId::node()).await
}

#[tokio::test]
async fn presented_chain_is_leaf_issuing_intermediate() {
    let plane = Plane::with(with_intermediate).await;
    let svid = node_svid(&plane).await;
    let Tiers {
        roots,
        intermediates,
        issuing,
    } = plane.authority.tiers();
    assert_eq!(
        svid.chain()[1..],
        [
            issuing[0].certificate.clone(),
            intermediates[0].certificate.clone()
        ]
    );
    assert_eq!(intermediates[0].issued_by, roots[0].key_id);
    assert_eq!(issuing[0].issued_by, intermediates[0].key_id);
    certificates::verify(&plane, &svid.chain(), after(1));
    let identity = plane.authority.server_identity(after(1)).await.unwrap();
    assert_eq!(identity.chain.len(), 3);
}

#[tokio::test]
async fn new_intermediate_leaves_the_bundle_alone() {
    let plane = Plane::with(with_intermediate).await;
    let before = node_svid(&plane).await;
    let bundle = plane.authority.bundle();
    let made = plane.authority.rotate_intermediate(after(1)).await.unwrap();
    assert_eq!(plane.authority.bundle().1, bundle.1);
    let tiers = plane.authority.tiers();
    let both = [SlotState::Active, SlotState::Retired];
    assert_eq!(states(&tiers.intermediates), both);
    assert_eq!(states(&tiers.issuing), both);
    assert_eq!(tiers.intermediates[0].key_id, made.key_id);

    let plane = plane.restart(after(2)).await;
    let node = plane.attest("/node/b").await;
    let new = plane.enrol(&node, &EntitlementId::node()).await;
    assert_eq!(new.chain()[2], made.certificate);
    certificates::verify(&plane, &new.chain(), after(3));
    let found = plane.authority.published(&before.node, &before.entitlement);
    assert_eq!(
        found.unwrap().chain(),
        before.chain(),
        "the old path is kept"
    );
    certificates::verify(&plane, &before.chain(), after(3));
}

#[tokio::test]
async fn time_rotates_the_intermediate_at_half_its_life() {
    let plane = Plane::with(with_intermediate).await;
    let days = |days: i64| after(days * 86_400);
    plane.authority.tick(days(49)).await.unwrap();
    assert_eq!(plane.authority.tiers().intermediates.len(), 1);
    plane.authority.tick(days(51)).await.unwrap();
    let intermediates = plane.authority.tiers().intermediates;
    assert_eq!(intermediates[0].state, SlotState::Active);
    assert_ne!(
        intermediates.last().unwrap().key_id,
        intermediates[0].key_id
    );
}

#[tokio::test]
async fn root_rotation_brings_an_intermediate_along() {
    let plane = Plane::with(with_intermediate).await;
    let root = plane.authority.prepare_root(after(1)).await.unwrap();
    let bundle = plane.authority.bundle().0.version().to_owned();
    let gate = GateOpen::for_test(&bundle);
    plane.authority.activate_root(gate, after(2)).await.unwrap();
    let tiers = plane.authority.tiers();
    assert_eq!(tiers.intermediates[0].issued_by, root.key_id);
    assert_eq!(tiers.issuing[0].issued_by, tiers.intermediates[0].key_id);
    let svid = node_svid(&plane).await;
    certificates::verify(&plane, &svid.chain(), after(3));
}

#[tokio::test]
async fn intermediate_comes_and_goes_with_its_setting() {
    let plane = Plane::new().await;
    let refused = plane.authority.rotate_intermediate(after(1)).await;
    assert_eq!(code(refused), "no_intermediate");
    let plane = plane.changed(with_intermediate, after(1)).await;
    let svid = node_svid(&plane).await;
    assert_eq!(svid.chain().len(), 3);
    let plane = plane.changed(|it| it.hierarchy.intermediate = None, after(2));
    let plane = plane.await;
    let node = plane.attest("/node/b").await;
    let below = plane.enrol(&node, &EntitlementId::node()).await;
    assert_eq!(below.chain().len(), 2);
    for chain in [&svid.chain(), &below.chain()] {
        certificates::verify(&plane, chain, after(3));
    }
    let tiers = plane.authority.tiers();
    assert_eq!(states(&tiers.intermediates), [SlotState::Retired]);
}

#[tokio::test]
async fn key_lost_with_the_process_is_replaced() {
    let plane = Plane::with(in_memory).await;
    let before = node_svid(&plane).await;
    let keys = plane.dir.path().join("cp/keys");
    assert_eq!(keys.read_dir().unwrap().count(), 1, "the root alone");
    let bundle = plane.authority.bundle().0.version().to_owned();

    let plane = plane.restart(after(60)).await;
    let tiers = plane.authority.tiers();
    assert_eq!(
        states(&tiers.issuing),
        [SlotState::Active, SlotState::Retired]
    );
    assert_eq!(plane.authority.bundle().0.version(), bundle);
    let found = plane.authority.published(&before.node, &before.entitlement);
    assert_eq!(found.unwrap().chain(), before.chain());
    certificates::verify(&plane, &before.chain(), after(61));
    let node = plane.attest("/node/b").await;
    let new = plane.enrol(&node, &EntitlementId::node()).await;
    assert_eq!(new.chain()[1], tiers.issuing[0].certificate);
    certificates::verify(&plane, &new.chain(), after(61));
}

#[tokio::test]
async fn every_ca_has_a_name_and_key_of_its_own() {
    let plane = Plane::with(with_intermediate).await;
    plane.authority.rotate_intermediate(after(1)).await.unwrap();
    let Tiers {
        roots,
        intermediates,
        issuing,
    } = plane.authority.tiers();
    let all: Vec<_> = [roots, intermediates, issuing].concat();
    assert_eq!(all.len(), 5);
    let keys: BTreeSet<_> = all.iter().map(|ca| &ca.key_id).collect();
    let names: BTreeSet<_> = all.iter().map(|ca| &ca.subject).collect();
    assert_eq!((keys.len(), names.len()), (5, 5));
    assert!(all.iter().all(|ca| ca.subject.len() <= "CN=".len() + 64));
}
