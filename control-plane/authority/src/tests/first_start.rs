use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;

#[tokio::test]
async fn restart_finds_the_same_root_and_reissues_nothing() {
    let plane = Plane::new().await;
    let web = plane.register(registration("/web", "/node/a")).await;
    let node = plane.attest("/node/a").await;
    let own = plane.enrol(&node, &EntitlementId::node()).await;
    let svid = plane.enrol(&node, &web).await;
    let (roots, issuing) = plane.authority.authorities();
    let (bundle, sequence) = plane.authority.bundle();
    let (issued, stamp) = (plane.authority.issued_total(), plane.authority.stamp());

    let plane = plane.restart(after(60)).await;
    let again = &plane.authority;
    assert_eq!(again.issued_total(), issued);
    // Into a database signatures come by commits of their own.
    assert!(again.stamp().epoch == stamp.epoch && again.stamp().sequence >= stamp.sequence);
    assert_eq!(again.bundle().0.version(), bundle.version());
    assert_eq!(again.bundle().1, sequence);
    assert_eq!(again.authorities().0[0].key_id, roots[0].key_id);
    assert_eq!(again.authorities().1[0].key_id, issuing[0].key_id);
    let found = again.published(&svid.node, &web).unwrap();
    assert_eq!((found.serial, &found.chain()), (svid.serial, &svid.chain()));
    assert_eq!(found.lifetime, svid.lifetime);
    let found = again.published(&own.node, &EntitlementId::node()).unwrap();
    assert_eq!(found.serial, own.serial);
    assert_eq!(again.nodes().len(), 1);
    assert_eq!(
        again.nodes()[0].credential_not_after,
        svid.lifetime.not_after
    );
    assert_eq!(again.entitlements(&svid.node).len(), 2);
}

#[tokio::test]
async fn everything_on_disk_is_owner_only() {
    let plane = Plane::new().await;
    plane.attest("/node/a").await;
    let mut files = 0;
    walk(&plane.dir.path().join("cp"), &mut |path| {
        let mode = path.metadata().unwrap().permissions().mode() & 0o777;
        let expected = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode, expected, "{}", path.display());
        files += usize::from(path.is_file());
    });
    assert!(files >= 4, "lock, database and two keys");
}

fn walk(path: &Path, visit: &mut dyn FnMut(&Path)) {
    visit(path);
    if path.is_dir() {
        for entry in path.read_dir().unwrap() {
            walk(&entry.unwrap().path(), visit);
        }
    }
}

#[tokio::test]
async fn second_process_is_told_who_is_there() {
    let plane = Plane::new().await;
    let second = Authority::open(plane.authority.settings.clone(), start()).await;
    let error = second.unwrap_err().to_string();
    assert!(error.contains("in use by another control plane"), "{error}");
}

#[tokio::test]
async fn other_trust_domain_is_refused() {
    let plane = Plane::new().await;
    let mut settings = plane.authority.settings.clone();
    settings.trust_domain = TrustDomain::new("other.org").unwrap();
    let Plane { dir, authority } = plane;
    drop(authority);
    assert_eq!(
        code(Authority::open(settings, start()).await),
        "other_trust_domain"
    );
    drop(dir);
}

#[tokio::test]
async fn issuing_ca_must_outlive_six_leaves() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(&dir.path().join("cp"));
    settings.issuing_ttl = settings.x509_ttl * 6 - Duration::from_secs(1);
    assert_eq!(
        code(Authority::open(settings, start()).await),
        "ttl_beyond_issuer"
    );
    assert!(!dir.path().join("cp").exists(), "nothing is left behind");
}

#[tokio::test]
async fn server_identity_is_the_control_plane() {
    let plane = Plane::new().await;
    let identity = plane.authority.server_identity(start()).await.unwrap();
    assert_eq!(identity.lifetime.length(), Duration::from_millis(3_599_750));
    assert_eq!(identity.chain.len(), 2);
    let svid = certificates::verify(&plane, &identity.chain, after(1));
    assert_eq!(svid.id, id("/countersign/control-plane"));
    assert!(
        plane
            .authority
            .recognise(&svid.id, &svid.spki_sha256)
            .is_none()
    );
}

const DAY: i64 = 24 * 3_600;

/// A day without a jump of the clock.
async fn tick_for_a_day(plane: &Plane, begin: i64) {
    for hour in 0..=24 {
        plane
            .authority
            .tick(after(begin + hour * 3_600))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn nodes_that_are_long_over_are_forgotten() {
    let plane = Plane::new().await;
    let node = plane.attest("/node/a").await;
    plane.enrol(&node, &EntitlementId::node()).await;
    tick_for_a_day(&plane, 29 * DAY).await;
    assert!(plane.authority.is_node(node.id()), "operators still see it");
    tick_for_a_day(&plane, 30 * DAY).await;
    assert_eq!(plane.authority.node_count(), 0);
    let plane = plane.restart(after(31 * DAY)).await;
    assert_eq!(plane.authority.node_count(), 0, "nor is it stored");
}

/// After a restore nothing that is valid may be known of a node, and after a start with a wrong clock.
#[tokio::test]
async fn no_start_and_no_jump_of_the_clock_forgets_a_node() {
    let plane = Plane::new().await;
    let node = plane.attest("/node/a").await;
    plane.enrol(&node, &EntitlementId::node()).await;
    let plane = plane.restart(after(31 * DAY)).await;
    assert!(plane.authority.is_node(node.id()));
    plane.authority.tick(after(62 * DAY)).await.unwrap();
    plane.authority.tick(after(1)).await.unwrap();
    let plane = plane.restart(after(2)).await;
    assert!(plane.authority.is_node(node.id()));
}
