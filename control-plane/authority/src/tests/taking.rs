//! CAs that another replica changed. What it commits is made by hand here.

use countersign_fleet::Event;
use countersign_model::Seq;
use countersign_store::{Kind, Write};

use super::super::{SlotState, Tiers};
use super::owners::{keys, stored, with};
use super::*;

/// What a second control plane has of its CAs, one of each tier that it has.
async fn other_cas() -> (Plane, Write, Write) {
    let other = Plane::new().await;
    let Tiers { roots, issuing, .. } = other.authority.tiers();
    let all = stored(&other).await;
    let (root, issuing) = (&all[&roots[0].key_id], &all[&issuing[0].key_id]);
    let (root, issuing) = (root.clone(), with(issuing, "owner", "b"));
    (other, root, issuing)
}

fn sequence(sequence: u64) -> Write {
    Write::put(Kind::Meta, "bundle_sequence", &sequence)
}

/// Has a commit of another replica taken, so many seconds after the start.
fn take(plane: &Plane, writes: &[Write], secs: i64) -> Result<Vec<Event>, AuthorityError> {
    let seq = Seq(plane.authority.state.sequence() + 1);
    plane.authority.take_authorities(seq, writes, after(secs))
}

fn state_of(plane: &Plane, key_id: &str) -> Option<SlotState> {
    let Tiers { roots, issuing, .. } = plane.authority.tiers();
    let all = roots.into_iter().chain(issuing);
    { all }.find(|it| it.key_id == key_id).map(|it| it.state)
}

#[tokio::test]
async fn root_of_another_replica_is_trusted_first() {
    let plane = Plane::new().await;
    let (_other, root, issuing) = other_cas().await;
    let (_, present) = plane.authority.bundle();
    let writes = [with(&root, "state", "prepared"), sequence(present + 1)];
    let events = take(&plane, &writes, 1).unwrap();
    assert_eq!(events, [Event::Bundle]);
    let (bundle, taken) = plane.authority.bundle();
    assert_eq!((bundle.roots().len(), taken), (2, present + 1));
    assert_eq!(plane.authority.prepared_root().unwrap().key_id, root.key);
    // An issuing CA of the other concerns nobody here.
    let writes = [issuing.clone(), sequence(present + 1)];
    let events = take(&plane, &writes, 2).unwrap();
    assert_eq!(events, []);
    assert_eq!(state_of(&plane, &issuing.key), Some(SlotState::Active));
    assert_eq!(keys(&plane), 2);
}

/// It activates its root: what is ours retires, its key is gone, and its leaves live on.
#[tokio::test]
async fn root_that_another_replica_activated_retires_ours() {
    let plane = Plane::new().await;
    let node = plane.attest("/node/a").await;
    let svid = plane.enrol(&node, &EntitlementId::node()).await;
    let (_other, root, issuing) = other_cas().await;
    let Tiers {
        roots,
        issuing: own,
        ..
    } = plane.authority.tiers();
    let before = stored(&plane).await;
    let writes = [
        with(&before[&roots[0].key_id], "state", "retired"),
        with(&before[&own[0].key_id], "state", "retired"),
        root.clone(),
        issuing,
        sequence(plane.authority.bundle().1 + 1),
    ];
    let events = take(&plane, &writes, 1).unwrap();
    assert_eq!(events, [Event::Bundle]);
    assert_eq!(state_of(&plane, &own[0].key_id), Some(SlotState::Retired));
    assert_eq!(keys(&plane), 0, "neither signs any more");
    assert!(!plane.authority.obstacles(after(1)).is_empty());
    let found = plane.authority.published(&svid.node, &svid.entitlement);
    assert_eq!(found.unwrap().chain(), svid.chain());
    certificates::verify(&plane, &svid.chain(), after(1));

    let dropped = [
        Write::remove(Kind::Authority, own[0].key_id.clone()),
        Write::remove(Kind::Authority, roots[0].key_id.clone()),
        sequence(plane.authority.bundle().1 + 1),
    ];
    let events = take(&plane, &dropped, 2).unwrap();
    assert_eq!(events, [Event::Bundle]);
    let (bundle, _) = plane.authority.bundle();
    assert_eq!(bundle.roots().len(), 1);
    assert_eq!(state_of(&plane, &root.key), Some(SlotState::Active));
}

/// Another replica changed the CAs, and that was not taken yet: what is made of the CAs as they were
/// comes to nothing, and is made again afterwards.
#[tokio::test]
async fn change_of_cas_that_another_changed_is_refused() {
    let plane = Plane::new().await;
    let (_other, _, issuing) = other_cas().await;
    let writes = vec![issuing, sequence(plane.authority.bundle().1)];
    let committed = plane
        .authority
        .store
        .commit(writes.clone(), Vec::new())
        .await;
    let (seq, before) = (committed.unwrap(), stored(&plane).await);
    let refused = plane.authority.rotate_issuing(after(1)).await;
    assert!(
        matches!(refused, Err(AuthorityError::Overtaken)),
        "{refused:?}"
    );
    assert_eq!((stored(&plane).await, keys(&plane)), (before, 2));

    let taken = plane.authority.take_authorities(seq, &writes, after(2));
    assert_eq!(taken.unwrap(), []);
    plane.authority.rotate_issuing(after(3)).await.unwrap();
    assert_eq!(plane.authority.tiers().issuing.len(), 3);
    // And what was made of them here is known to the next change.
    plane.authority.rotate_issuing(after(4)).await.unwrap();
    let plane = plane.restart(after(5)).await;
    plane.authority.rotate_issuing(after(6)).await.unwrap();
}

#[tokio::test]
async fn what_does_not_read_is_not_taken() {
    let plane = Plane::new().await;
    let (_other, root, issuing) = other_cas().await;
    let before = plane.authority.bundle();
    for damaged in [
        Write::put(Kind::Authority, "damaged", &"no CA"),
        with(&issuing, "certificate", "xyz"),
        Write::put(Kind::Meta, "bundle_sequence", &"none"),
    ] {
        let writes = [with(&root, "state", "prepared"), damaged];
        take(&plane, &writes, 1).unwrap_err();
        assert_eq!(plane.authority.bundle().1, before.1);
        assert_eq!(state_of(&plane, &root.key), None);
    }
    // And a root that is none.
    let writes = [with(&root, "certificate", "3000"), sequence(before.1 + 1)];
    take(&plane, &writes, 1).unwrap_err();
    assert_eq!(plane.authority.bundle().0.version(), before.0.version());
}

#[tokio::test]
async fn other_commits_change_no_ca() {
    let plane = Plane::new().await;
    let before = plane.authority.bundle().1;
    let writes = [Write::put(Kind::Meta, "log_accounted", &7_u64)];
    let events = take(&plane, &writes, 1).unwrap();
    assert_eq!((events, plane.authority.bundle().1), (Vec::new(), before));
}
