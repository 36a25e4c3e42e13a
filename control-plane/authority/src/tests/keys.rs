use sha2::{Digest, Sha256};

use super::certificates::verify;
use super::*;

/// The start of a P-256 key in PKCS#8 (RFC 5208, RFC 5915): the scalar follows.
const PKCS8: &str = "3041020100301306072a8648ce3d020106082a8648ce3d030107042730250201010420";
/// The private key of RFC 6979 appendix A.2.5.
const PUBLISHED: &str = "c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721";

/// Tries to have a key certified for a registered workload.
async fn try_enrol(plane: &Plane, pair: &KeyPair) -> Result<Arc<PublishedSvid>, AuthorityError> {
    let web = plane.register(registration("/web", "/node/a")).await;
    let node = plane.attest("/node/a").await;
    let key = proven(pair, &web);
    plane.authority.enrol(&node, &web, &key, start()).await
}

fn sha256(pair: &KeyPair) -> String {
    hex::encode(Sha256::digest(pair.subject_public_key_info()))
}

/// A control plane whose operator blocks what this text says.
async fn with_block_list(text: &str) -> Result<Plane, AuthorityError> {
    let dir = Dir::new();
    let mut settings = settings(&dir.path().join("cp"));
    let list = dir.path().join("blocked");
    std::fs::write(&list, text).unwrap();
    settings.blocked_keys = Some(list);
    let authority = Authority::open(settings, start()).await?;
    Ok(Plane { dir, authority })
}

/// A key that everybody has.
pub(super) fn published_key() -> KeyPair {
    let pkcs8 = hex::decode([PKCS8, PUBLISHED].concat()).unwrap();
    KeyPair::try_from(pkcs8).unwrap()
}

#[tokio::test]
async fn published_key_is_never_certified() {
    let pair = published_key();
    let plane = Plane::new().await;
    let issued = plane.authority.issued_total();
    assert_eq!(code(try_enrol(&plane, &pair).await), "key_known_bad");
    let refused = try_enrol(&plane, &pair).await.unwrap_err().to_string();
    assert!(refused.contains("CA/Browser Forum"), "{refused}");
    assert_eq!(plane.authority.issued_total(), issued, "nothing was logged");
}

#[tokio::test]
async fn blocked_key_is_never_certified() {
    let (blocked, other) = (fresh_key(), fresh_key());
    let text = format!("# stolen\n{} of the old gateway\n", sha256(&blocked));
    let plane = with_block_list(&text).await.unwrap();
    assert_eq!(code(try_enrol(&plane, &blocked).await), "key_blocked");
    try_enrol(&plane, &other).await.unwrap();
}

#[tokio::test]
async fn block_list_with_a_mistake_stops_the_start() {
    let refused = with_block_list("00\n").await.err().unwrap().to_string();
    assert!(refused.contains("svid.blocked_keys") && refused.contains("line 1"));
}

#[tokio::test]
async fn our_own_keys_are_never_certified_for_others() {
    let plane = Plane::new().await;
    let keys = plane.dir.path().join("cp/keys");
    let ca_keys = || std::fs::read_dir(&keys).unwrap().map(|file| file.unwrap());
    for file in ca_keys() {
        let pem = std::fs::read_to_string(file.path()).unwrap();
        let pair = KeyPair::from_pem(&pem).unwrap();
        assert_eq!(code(try_enrol(&plane, &pair).await), "key_of_a_ca");
    }
    let server = plane.authority.server_identity(start()).await.unwrap();
    let pair = KeyPair::try_from(server.key.as_slice()).unwrap();
    assert_eq!(code(try_enrol(&plane, &pair).await), "key_of_a_ca");

    plane.authority.rotate_issuing(after(1)).await.unwrap();
    let plane = plane.restart(after(2)).await;
    assert_eq!(ca_keys().count(), 2, "a root and an issuing CA");
    for file in ca_keys() {
        let pem = std::fs::read_to_string(file.path()).unwrap();
        let pair = KeyPair::from_pem(&pem).unwrap();
        assert_eq!(code(try_enrol(&plane, &pair).await), "key_of_a_ca");
    }
}

#[tokio::test]
async fn lifetimes_keep_to_the_operators_bounds() {
    let plane = Plane::with(|settings| {
        settings.times.svid_min_ttl = Duration::from_secs(60);
        settings.times.svid_max_ttl = Duration::from_secs(3_600);
    })
    .await;
    let mut wanted = registration("/web", "/node/a");
    for secs in [59, 3_601] {
        wanted.x509_ttl = Some(Duration::from_secs(secs));
        assert_eq!(plane.refused(wanted.clone()).await, "ttl", "{secs}");
    }
    wanted.x509_ttl = Some(Duration::from_secs(60));
    plane.register(wanted).await;

    let Plane { dir, authority } = plane;
    let mut settings = authority.settings.clone();
    settings.times.svid_min_ttl = Duration::from_secs(61);
    authority.flush(start()).await.unwrap();
    drop(authority);
    let refused = Authority::open(settings, start()).await.err();
    let Some(AuthorityError::Denied(denied)) = refused else {
        panic!("what is registered would never be issued: {refused:?}");
    };
    assert_eq!(denied.code, "ttl");
    drop(dir);
}

#[tokio::test]
async fn certificates_are_backdated_as_set() {
    let plane = Plane::with(|settings| {
        settings.times.svid_backdate = Duration::ZERO;
        settings.times.ca_backdate = Duration::from_secs(600);
    })
    .await;
    let (roots, issuing) = plane.authority.authorities();
    for ca in roots.iter().chain(&issuing) {
        assert_eq!(ca.not_before.as_second(), start().as_second() - 600);
    }
    let node = plane.attest("/node/a").await;
    let svid = plane.enrol(&node, &EntitlementId::node()).await;
    let seen = verify(&plane, &svid.chain(), after(1));
    assert_eq!(seen.not_before.as_second(), start().as_second());
}

#[tokio::test]
async fn keys_beyond_the_bound_are_refused_before_the_log() {
    let plane = Plane::new().await;
    let (node, own) = (plane.attest("/node/a").await, EntitlementId::node());
    let authority = &plane.authority;
    authority.state.write().keys.take_at_most(2);
    let (first, second) = (fresh_key(), fresh_key());
    let enrol = async |pair: &KeyPair, now| {
        let key = proven(pair, &own);
        authority.enrol(&node, &own, &key, now).await
    };
    let svid = enrol(&first, start()).await.unwrap();
    authority.check_room(node.id()).unwrap();
    enrol(&second, start()).await.unwrap();
    let from = authority.ledger.log().size();
    let refused = enrol(&fresh_key(), start()).await.unwrap_err();
    assert!(matches!(refused, AuthorityError::TooManyKeys { most: 2 }));
    authority.check_room(node.id()).unwrap_err();
    assert_eq!(authority.ledger.log().size(), from, "nothing was logged");
    assert_eq!(authority.certified_keys(), 2);
    let again = enrol(&first, start()).await.unwrap();
    assert_eq!(again.serial, svid.serial, "a known key has its place");

    // The certificates end, and are forgotten.
    let ended = after(3_601);
    authority.tick(ended).await.unwrap();
    enrol(&fresh_key(), ended).await.unwrap();
}
