//! Join tokens that are burnt: once, for one key, by whoever comes first.

use tokio::task::JoinSet;

use super::*;

/// A node key and its proof.
pub(super) fn node_key() -> ProvenKey {
    proven(&fresh_key(), &EntitlementId::node())
}

pub(super) async fn token(plane: &Plane, node: &str) -> String {
    let node = id(node);
    let created = plane.authority.create_token(&node, MINUTE, start());
    created.await.unwrap().0
}

/// An attestation to its end: the serial of what it was answered with.
pub(super) async fn answered(
    authority: &Authority,
    token: &str,
    key: &ProvenKey,
    now: Timestamp,
) -> Result<Arc<PublishedSvid>, AuthorityError> {
    let node = authority.attest_join_token(token, key, now).await?;
    authority
        .enrol(&node, &EntitlementId::node(), key, now)
        .await
}

pub(super) fn is_known(plane: &Plane, node: &str, key: &ProvenKey) -> bool {
    let recognised = plane.authority.recognise(&id(node), &key.spki_sha256());
    recognised.is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_attestations_wins() {
    let plane = Plane::new().await;
    for round in 0..20 {
        let node = format!("/node/{round}");
        let token = token(&plane, &node).await;
        let mut attempts = JoinSet::new();
        for _ in 0..64 {
            let (authority, token) = (plane.authority.clone(), token.clone());
            attempts.spawn(async move {
                let key = node_key();
                let answer = answered(&authority, &token, &key, start()).await;
                answer.map(|_| key)
            });
        }
        let outcomes = attempts.join_all().await;
        let (won, lost): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
        assert_eq!(won.len(), 1);
        assert!(is_known(&plane, &node, won[0].as_ref().unwrap()));
        for outcome in lost {
            assert_eq!(code(outcome), "token_used");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tokens_at_once_leave_one_lineage() {
    let plane = Plane::new().await;
    for round in 0..40 {
        let node = format!("/node/{round}");
        let mut attempts = JoinSet::new();
        for token in [token(&plane, &node).await, token(&plane, &node).await] {
            let authority = plane.authority.clone();
            attempts.spawn(async move {
                let key = node_key();
                let proof = authority.attest_join_token(&token, &key, start()).await;
                let proof = proof.unwrap();
                let own = EntitlementId::node();
                let answer = authority.enrol(&proof, &own, &key, start()).await;
                (proof, key, answer)
            });
        }
        let attempts = attempts.join_all().await;
        let (living, dead): (Vec<_>, Vec<_>) = attempts
            .into_iter()
            .partition(|(_, key, _)| is_known(&plane, &node, key));
        assert_eq!((living.len(), dead.len()), (1, 1), "round {round}");
        living[0].2.as_ref().unwrap();
        // Whatever the other one was given, it gets nothing more.
        let (own, key) = (EntitlementId::node(), node_key());
        let renewal = plane.authority.enrol(&dead[0].0, &own, &key, start());
        assert_eq!(code(renewal.await), "node_superseded");
    }
}

#[tokio::test]
async fn token_outcomes_are_told_apart_inside() {
    let plane = Plane::new().await;
    let attest = async |token: &str, secs| {
        let authority = &plane.authority;
        authority
            .attest_join_token(token, &node_key(), after(secs))
            .await
    };
    let node = id("/node/a");
    let (token, expires_at) = plane
        .authority
        .create_token(&node, MINUTE, start())
        .await
        .unwrap();
    assert!(token.len() <= 64 && token.bytes().all(|b| b.is_ascii_alphanumeric()));
    assert_eq!(expires_at, after(60));
    let expired = attest(&token, 61).await.unwrap_err();
    assert!(expired.to_string().contains(node.as_str()), "{expired}");
    assert_eq!(code(Err::<(), _>(expired)), "token_expired");
    attest(&token, 60).await.unwrap();
    let used = attest(&token, 60).await.unwrap_err();
    assert!(used.to_string().contains(node.as_str()), "{used}");
    assert_eq!(code(Err::<(), _>(used)), "token_used");
    for guess in [
        "",
        "../../etc/passwd",
        &"a".repeat(64),
        &"a".repeat(1 << 20),
        "ü",
    ] {
        assert_eq!(code(attest(guess, 1).await), "token_unknown");
    }
    let plane = plane.restart(after(5)).await;
    let replay = plane
        .authority
        .attest_join_token(&token, &node_key(), after(5))
        .await;
    assert_eq!(code(replay), "token_used", "also after a restart");
}

#[tokio::test]
async fn connected_node_is_not_attested_again() {
    let plane = Plane::new().await;
    let token = token(&plane, "/node/a").await;
    let key = node_key();
    let attest = || plane.authority.attest_join_token(&token, &key, start());
    let stream = plane.authority.hub().join(&id("/node/a"));
    assert_eq!(code(attest().await), "node_connected");
    drop(stream);
    let attested = attest().await.unwrap();
    assert_eq!(attested.id(), &id("/node/a"), "the token was not burnt");
}

#[tokio::test]
async fn lost_answer_is_given_again() {
    let plane = Plane::new().await;
    let (token, key) = (token(&plane, "/node/a").await, node_key());
    let first = answered(&plane.authority, &token, &key, start())
        .await
        .unwrap();
    let issued = plane.authority.issued_total();
    // Also while a stream is open: who has the key needs no token for one.
    let stream = plane.authority.hub().join(&id("/node/a"));
    let again = answered(&plane.authority, &token, &key, after(1))
        .await
        .unwrap();
    assert_eq!(again.chain(), first.chain());
    drop(stream);
    let plane = plane.restart(after(2)).await;
    let late = after(3_599);
    plane
        .authority
        .check_join_token(&token, key.spki(), late)
        .unwrap();
    let again = answered(&plane.authority, &token, &key, late)
        .await
        .unwrap();
    assert_eq!(again.chain(), first.chain(), "while it is valid");
    assert_eq!(plane.authority.issued_total(), issued, "nothing was made");
    assert!(is_known(&plane, "/node/a", &key));
    let over = answered(&plane.authority, &token, &key, after(3_601)).await;
    assert_eq!(code(over), "token_used");
    let thief = answered(&plane.authority, &token, &node_key(), after(3)).await;
    assert_eq!(code(thief), "token_used");
}

#[tokio::test]
async fn attestation_that_was_cut_short_is_finished() {
    let plane = Plane::new().await;
    let (token, key) = (token(&plane, "/node/a").await, node_key());
    let burnt = plane
        .authority
        .attest_join_token(&token, &key, start())
        .await;
    let node = burnt.unwrap();
    // Killed before the certificate was made.
    let plane = plane.crash(after(1)).await;
    let svid = answered(&plane.authority, &token, &key, after(2))
        .await
        .unwrap();
    assert_eq!(&svid.node, node.id());
    assert!(is_known(&plane, "/node/a", &key));
}

#[tokio::test]
async fn repeat_ends_with_the_next_key() {
    let plane = Plane::new().await;
    let (token, key) = (token(&plane, "/node/a").await, node_key());
    answered(&plane.authority, &token, &key, start())
        .await
        .unwrap();
    let node = plane
        .authority
        .recognise(&id("/node/a"), &key.spki_sha256());
    plane.enrol(&node.unwrap(), &EntitlementId::node()).await;
    let replay = answered(&plane.authority, &token, &key, start()).await;
    assert_eq!(code(replay), "token_used");
    // A restart remembers none of the keys that ended, and the token would still be good.
    let plane = plane.restart(after(30)).await;
    let replay = answered(&plane.authority, &token, &key, after(30)).await;
    assert_eq!(code(replay), "token_used");
}

#[tokio::test]
async fn new_token_is_a_new_attestation() {
    let plane = Plane::new().await;
    let (first, second) = (
        token(&plane, "/node/a").await,
        token(&plane, "/node/a").await,
    );
    let key = node_key();
    let old = answered(&plane.authority, &first, &key, start())
        .await
        .unwrap();
    let new = answered(&plane.authority, &second, &key, after(1))
        .await
        .unwrap();
    assert!(
        new.serial.index() > old.serial.index(),
        "never an older answer"
    );
    assert!(is_known(&plane, "/node/a", &key));
    let replay = answered(&plane.authority, &first, &key, after(1)).await;
    assert_eq!(code(replay), "token_used", "its lineage has ended");
    let again = answered(&plane.authority, &second, &key, after(1)).await;
    assert_eq!(again.unwrap().chain(), new.chain());
}

#[tokio::test]
async fn refused_key_burns_nothing() {
    let plane = Plane::new().await;
    let token = token(&plane, "/node/a").await;
    let own = EntitlementId::node();
    let server = plane.authority.server_identity(start()).await.unwrap();
    let ours = KeyPair::try_from(server.key.as_slice()).unwrap();
    let refused = answered(&plane.authority, &token, &proven(&ours, &own), start()).await;
    assert_eq!(code(refused), "key_of_a_ca");
    let published = proven(&keys::published_key(), &own);
    let refused = answered(&plane.authority, &token, &published, start()).await;
    assert_eq!(code(refused), "key_known_bad");
    // A key of another node.
    let other = node_key();
    let theirs = self::token(&plane, "/node/b").await;
    answered(&plane.authority, &theirs, &other, start())
        .await
        .unwrap();
    let refused = answered(&plane.authority, &token, &other, start()).await;
    assert_eq!(code(refused), "key_in_use");
    answered(&plane.authority, &token, &node_key(), start())
        .await
        .unwrap();
}
