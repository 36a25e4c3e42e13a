//! Attestations whose answer is lost, and what makes up for it.

use super::plane::NEW_TOKEN;
use super::*;

fn told(node: &Node, what: &str) -> bool {
    let link = node.link.borrow();
    link.problem
        .as_deref()
        .is_some_and(|why| why.contains(what))
}

/// Every key that the plane certified.
fn keys(plane: &Plane) -> BTreeSet<Vec<u8>> {
    plane.state().spkis.into_iter().collect()
}

fn give_token(folder: &TempDir, token: &str) {
    countersign_serve::secret_file::write(&folder.path().join("token"), token).unwrap();
}

#[tokio::test]
async fn token_that_others_can_read_is_not_used() {
    let (plane, folder) = world().await;
    config(&plane, &folder);
    let mode = |mode| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(folder.path().join("token"), mode).unwrap();
    };
    mode(0o644);
    let node = Node::start(&plane, &folder);
    until(|| told(&node, "is open to others: chmod 600 it")).await;
    assert!(keys(&plane).is_empty(), "it was not shown to anybody");
    mode(0o600);
    until(|| node.link.borrow().connected).await;
}

#[tokio::test]
async fn lost_attestation_is_asked_for_again() {
    let (plane, folder) = world().await;
    plane.lose_attestations(true);
    let node = Node::start(&plane, &folder);
    until(|| told(&node, "the answer is lost")).await;
    plane.lose_attestations(false);
    node.holds(&EntitlementId::node()).await;
    assert_eq!(keys(&plane).len(), 1, "with the same key");
    node.end().await;
}

#[tokio::test]
async fn killed_process_attests_with_the_key_of_the_last() {
    let (plane, folder) = world().await;
    plane.lose_attestations(true);
    let node = Node::start(&plane, &folder);
    until(|| !plane.state().tokens_used.is_empty()).await;
    node.end().await;
    plane.lose_attestations(false);
    let node = Node::start(&plane, &folder);
    node.holds(&EntitlementId::node()).await;
    assert_eq!(keys(&plane).len(), 1);
    let left = config(&plane, &folder).state_dir.join("attestation.json");
    assert!(!left.exists(), "the credential has taken its place");
    node.end().await;
}

#[tokio::test]
async fn unwritable_state_spends_no_token() {
    let (plane, folder) = world().await;
    let state = config(&plane, &folder).state_dir;
    // The draft cannot be made: its name is taken by a folder that is not empty.
    let taken = state.join("attestation.json.new");
    std::fs::create_dir_all(taken.join("occupied")).unwrap();
    let node = Node::start(&plane, &folder);
    until(|| told(&node, "the join token is not used")).await;
    assert!(plane.state().tokens_used.is_empty());
    std::fs::remove_dir_all(taken).unwrap();
    node.holds(&EntitlementId::node()).await;
    node.end().await;
}

#[tokio::test]
async fn new_token_helps_a_running_process() {
    let (plane, folder) = world().await;
    plane.lose_attestations(true);
    let node = Node::start(&plane, &folder);
    until(|| told(&node, "the answer is lost")).await;
    give_token(&folder, NEW_TOKEN);
    until(|| plane.state().tokens_used.len() == 2).await;
    plane.lose_attestations(false);
    node.holds(&EntitlementId::node()).await;
    let used = plane.state().tokens_used;
    assert_ne!(
        used[TOKEN], used[NEW_TOKEN],
        "each token has a key of its own"
    );
    node.end().await;
}

#[tokio::test]
async fn evicted_node_comes_back_with_a_new_token() {
    let (plane, folder) = world().await;
    let node = Node::start(&plane, &folder);
    let first = node.holds(&EntitlementId::node()).await;
    plane.evict();
    until(|| {
        told(
            &node,
            "does not recognise this node's credential, and attesting",
        )
    })
    .await;
    assert_eq!(
        node.serial(&EntitlementId::node()),
        Some(first),
        "kept meanwhile"
    );
    give_token(&folder, NEW_TOKEN);
    until(|| node.link.borrow().connected).await;
    assert_ne!(node.serial(&EntitlementId::node()), Some(first));
    node.end().await;
}

#[tokio::test]
async fn unrecognised_credential_is_tried_again_in_turn() {
    let (plane, folder) = world().await;
    let node = Node::start(&plane, &folder);
    let first = node.holds(&EntitlementId::node()).await;
    std::fs::remove_file(folder.path().join("token")).unwrap();
    plane.evict();
    until(|| told(&node, "does not recognise")).await;
    plane.readmit();
    until(|| node.link.borrow().connected).await;
    assert_eq!(node.serial(&EntitlementId::node()), Some(first));
    node.end().await;
}
