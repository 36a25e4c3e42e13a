//! A root that was replaced while the sidecar was off.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::{PermissionsExt as _, chown};

use super::*;

/// A node that was attested by a control plane, and is off. Its token is used.
async fn enrolled(plane: &Plane, folder: &TempDir) -> Serial {
    let node = Node::start(plane, folder);
    let serial = node.holds(&EntitlementId::node()).await;
    until(|| node.link.borrow().connected).await;
    node.end().await;
    serial
}

fn configure(folder: &TempDir, authority: &Authority) {
    let pem = authority.bundle().to_pem();
    std::fs::write(folder.path().join("bundle.pem"), pem).unwrap();
}

fn stored_credential(folder: &TempDir) -> Serial {
    let state = StateDir::open(&folder.path().join("state")).unwrap();
    state.load_node().unwrap().unwrap().svid.serial
}

async fn problem(node: &Node, part: &str) -> String {
    let problem = || node.link.borrow().problem.clone().unwrap_or_default();
    until(|| problem().contains(part)).await;
    problem()
}

#[tokio::test]
async fn root_replaced_while_off_comes_by_the_file() {
    let (before, folder) = world().await;
    enrolled(&before, &folder).await;
    let after = Plane::start_under("replaced").await;
    configure(&folder, &after.authority);
    let web = right('1', "/web", 1);
    after.entitle(&web);
    let node = Node::start(&after, &folder);
    node.holds(&web.id).await;
    let bundle = node.holdings.load().bundle.clone().unwrap();
    assert_eq!(bundle.roots(), [after.authority.root()]);
    assert!(node.link.borrow().connected);
    node.end().await;
    // From then on it is held, and the file is not needed.
    std::fs::remove_file(folder.path().join("bundle.pem")).unwrap();
    configure(&folder, &before.authority);
    let again = Node::start(&after, &folder);
    again.holds(&web.id).await;
    assert_eq!(after.state().streams, 2);
}

#[tokio::test]
async fn file_is_read_anew_at_each_attempt() {
    let (before, folder) = world().await;
    enrolled(&before, &folder).await;
    let after = Plane::start_under("replaced").await;
    let node = Node::start(&after, &folder);
    let why = problem(&node, "it holds no other root").await;
    assert!(
        why.contains("no root of the trust bundle has issued"),
        "{why}"
    );
    assert!(!why.contains('{'), "{why}");
    std::fs::remove_file(folder.path().join("bundle.pem")).unwrap();
    problem(&node, "cannot read the bundle").await;
    configure(&folder, &Authority::new("third"));
    problem(&node, "nor under that of").await;
    configure(&folder, &after.authority);
    node.holds(&EntitlementId::node()).await;
}

#[tokio::test]
async fn file_that_another_can_write_does_not_stand_in() {
    let (before, folder) = world().await;
    enrolled(&before, &folder).await;
    let after = Plane::start_under("replaced").await;
    configure(&folder, &after.authority);
    let file = folder.path().join("bundle.pem");
    chown(&file, Some(54_321), None).unwrap();
    let node = Node::start(&after, &folder);
    let why = problem(&node, "belongs to uid 54321").await;
    assert!(why.contains("another control_plane.bundle"), "{why}");
    chown(&file, Some(0), None).unwrap();
    set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
    problem(&node, "other users can write in").await;
    assert_eq!(after.state().streams, 0);
    set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    until(|| node.link.borrow().connected).await;
}

#[tokio::test]
async fn file_beyond_its_bound_is_not_read_to_its_end() {
    let (before, folder) = world().await;
    enrolled(&before, &folder).await;
    let after = Plane::start_under("replaced").await;
    configure(&folder, &after.authority);
    let file = folder.path().join("bundle.pem");
    let file = std::fs::File::options().write(true).open(file).unwrap();
    // It takes no room on the disk, and more memory than there is.
    file.set_len(1 << 42).unwrap();
    let node = Node::start(&after, &folder);
    problem(&node, "it has more than 524288 bytes").await;
}

#[tokio::test]
async fn retired_root_is_not_brought_back_by_a_file() {
    let (plane, folder) = world().await;
    let node = Node::start(&plane, &folder);
    until(|| node.link.borrow().connected).await;
    let next = Authority::new("next");
    plane.publish_bundle(&[&next]);
    let is_retired = || {
        let bundle = node.holdings.load().bundle.clone();
        bundle.is_some_and(|bundle| bundle.roots() == [next.root()])
    };
    until(is_retired).await;
    let serial = node.holds(&EntitlementId::node()).await;
    node.end().await;
    // The file still names the old root, and who has its key listens at the address.
    let streams = plane.state().streams;
    let node = Node::start(&plane, &folder);
    problem(&node, "has taken its roots out of the bundle").await;
    node.end().await;
    assert_eq!(plane.state().streams, streams);
    assert_eq!(stored_credential(&folder), serial);
    // The operator's way after a restore of older state.
    std::fs::remove_file(folder.path().join("state/bundle.json")).unwrap();
    let node = Node::start(&plane, &folder);
    until(|| node.link.borrow().connected).await;
}

#[tokio::test]
async fn refused_credential_is_kept_until_a_token_helps() {
    let (before, folder) = world().await;
    let serial = enrolled(&before, &folder).await;
    let after = Plane::start_under("replaced").await;
    configure(&folder, &after.authority);
    let token = folder.path().join("token");
    countersign_serve::secret_file::write(&token, "another token").unwrap();
    let node = Node::start(&after, &folder);
    let why = problem(&node, "this node's credential, and attesting again failed").await;
    assert!(why.contains("attestation refused"), "{why}");
    assert!(!why.contains("transport error"), "{why}");
    node.end().await;
    assert_eq!(stored_credential(&folder), serial);
    let node = Node::start(&after, &folder);
    problem(&node, "this node's credential, and attesting again failed").await;
    std::fs::write(&token, TOKEN).unwrap();
    node.holds(&EntitlementId::node()).await;
}

/// As after a restore of state from before the newest root: every peer with the bundle of now refuses
/// what is held.
#[tokio::test]
async fn what_lost_its_root_is_renewed_at_once() {
    let (plane, folder) = world().await;
    let web = right('1', "/web", 1);
    plane.entitle(&web);
    let node = Node::start(&plane, &folder);
    let lost = node.holds(&web.id).await;
    let next = Arc::new(Authority::new("next"));
    plane.publish_bundle(&[&plane.authority, &next]);
    plane.sign_with(&next);
    let roots = || {
        node.holdings
            .load()
            .bundle
            .as_ref()
            .map(|it| it.roots().len())
    };
    until(|| roots() == Some(2)).await;
    assert_eq!(node.serial(&web.id), Some(lost), "its root is there");
    plane.publish_bundle(&[&next]);
    until(|| node.serial(&web.id) != Some(lost)).await;
    assert_eq!(plane.state().nacks, 0);
}
