//! Nodes that are put out: at once, durably, and for as long as the operator said.

use countersign_store::Kind;
use countersign_store::testing::Fault;
use futures_util::FutureExt;

use super::super::{Act, Eviction, Reason};
use super::attesting::{answered, is_known, node_key, token};
use super::faults::{faulty, set};
use super::log::told;
use super::*;

const NODE: &str = "/node/a";

fn act() -> Act {
    Act {
        reason: Reason::new("key copied").unwrap(),
        operator: "operator uid 0".to_owned(),
    }
}

fn eviction(is_ban: bool) -> Eviction {
    Eviction {
        node: id(NODE),
        act: act(),
        is_ban,
    }
}

#[tokio::test]
async fn evicted_node_gets_nothing_more() {
    let plane = Plane::new().await;
    let web = plane.register(registration("/web", NODE)).await;
    let (old, key) = (token(&plane, NODE).await, node_key());
    let own = answered(&plane.authority, &old, &key, start())
        .await
        .unwrap();
    let thief = plane
        .authority
        .recognise(&id(NODE), &key.spki_sha256())
        .unwrap();
    let svid = plane.enrol(&thief, &web).await;
    let stream = plane.authority.hub().join(&id(NODE));
    let from = plane.authority.ledger.log().size();

    let evicted = plane
        .authority
        .evict(eviction(false), after(1))
        .await
        .unwrap();
    assert!(evicted.was_connected && evicted.log_index == from);
    let end = own.lifetime.not_after.max(svid.lifetime.not_after);
    assert_eq!(evicted.valid_until, Some(end));
    let entry = format!("evicted {} banned=false key copied", id(NODE));
    assert_eq!(told(&plane, from), [entry]);
    stream.evicted().now_or_never().expect("it ends at once");
    for entitlement in [EntitlementId::node(), web.clone()] {
        let fresh = proven(&fresh_key(), &entitlement);
        let refused = plane
            .authority
            .enrol(&thief, &entitlement, &fresh, after(1));
        assert_eq!(code(refused.await), "node_superseded");
        assert!(plane.authority.published(&id(NODE), &entitlement).is_none());
    }
    assert!(plane.authority.nodes().is_empty(), "nobody waits for it");
    let replay = answered(&plane.authority, &old, &key, after(1)).await;
    assert_eq!(code(replay), "token_used");

    let plane = plane.crash(after(2)).await;
    assert!(!is_known(&plane, NODE, &key));
    assert!(plane.authority.published(&id(NODE), &web).is_none());
    let listed = plane.authority.list_nodes(None, after(2)).remove(0);
    let attested = listed.attested.unwrap();
    assert_eq!(attested.evicted, Some((after(1), "key copied".to_owned())));
    assert!(attested.serials.is_empty());
    let web = id("/web");
    let unregistered = plane.authority.unregister(&web, None, after(2));
    let valid_until = unregistered.await.unwrap().valid_until;
    assert_eq!(
        valid_until,
        Some(svid.lifetime.not_after),
        "the thief has it"
    );
}

#[tokio::test]
async fn evicted_node_comes_back_with_a_fresh_key_alone() {
    let plane = Plane::new().await;
    let (first, key) = (token(&plane, NODE).await, node_key());
    answered(&plane.authority, &first, &key, start())
        .await
        .unwrap();
    let unused = token(&plane, NODE).await;
    let evicted = plane
        .authority
        .evict(eviction(false), after(1))
        .await
        .unwrap();
    assert_eq!(evicted.tokens_revoked, 1);
    let revoked = answered(&plane.authority, &unused, &node_key(), after(1)).await;
    assert_eq!(code(revoked), "token_revoked");
    let plane = plane.crash(after(1)).await;
    let revoked = answered(&plane.authority, &unused, &node_key(), after(1)).await;
    assert_eq!(code(revoked), "token_revoked", "also after a restart");

    let new = token(&plane, NODE).await;
    let stolen = answered(&plane.authority, &new, &key, after(2)).await;
    assert_eq!(code(stolen), "key_evicted", "a thief may have it");
    let fresh = node_key();
    answered(&plane.authority, &new, &fresh, after(2))
        .await
        .unwrap();
    assert!(is_known(&plane, NODE, &fresh) && !is_known(&plane, NODE, &key));
    let plane = plane.crash(after(3)).await;
    assert!(is_known(&plane, NODE, &fresh) && !is_known(&plane, NODE, &key));
    let listed = plane
        .authority
        .list_nodes(Some(&id(NODE)), after(3))
        .remove(0);
    assert_eq!(listed.attested.unwrap().evicted, None);
}

#[tokio::test]
async fn banned_node_is_attested_by_no_token() {
    let plane = Plane::new().await;
    let key = node_key();
    let first = token(&plane, NODE).await;
    answered(&plane.authority, &first, &key, start())
        .await
        .unwrap();
    plane
        .authority
        .evict(eviction(true), after(1))
        .await
        .unwrap();
    let refused = plane
        .authority
        .create_token(&id(NODE), MINUTE, after(1))
        .await;
    assert_eq!(code(refused), "node_banned");
    let plane = plane.crash(after(2)).await;
    assert!(!is_known(&plane, NODE, &key));
    let refused = answered(&plane.authority, &first, &key, after(2)).await;
    assert_eq!(code(refused), "node_banned");
    let listed = plane.authority.list_nodes(None, after(2)).remove(0);
    assert_eq!(listed.banned, Some((after(1), "key copied".to_owned())));

    let from = plane.authority.ledger.log().size();
    plane
        .authority
        .unban(&id(NODE), act(), after(3))
        .await
        .unwrap();
    assert_eq!(
        told(&plane, from),
        [format!("unbanned {} key copied", id(NODE))]
    );
    let twice = plane.authority.unban(&id(NODE), act(), after(3)).await;
    assert_eq!(code(twice), "not_banned");
    let plane = plane.crash(after(4)).await;
    assert!(!is_known(&plane, NODE, &key), "it stays evicted");
    let new = token(&plane, NODE).await;
    answered(&plane.authority, &new, &node_key(), after(4))
        .await
        .unwrap();
}

#[tokio::test]
async fn node_is_banned_before_it_comes() {
    let plane = Plane::new().await;
    let early = token(&plane, NODE).await;
    let banned = plane
        .authority
        .evict(eviction(true), after(1))
        .await
        .unwrap();
    assert_eq!((banned.tokens_revoked, banned.valid_until), (1, None));
    let refused = answered(&plane.authority, &early, &node_key(), after(1)).await;
    assert_eq!(code(refused), "node_banned");
    let stranger = Eviction {
        node: id("/node/b"),
        ..eviction(false)
    };
    let unknown = plane.authority.evict(stranger, after(1)).await;
    assert_eq!(code(unknown), "not_found");
    plane.register(registration("/web", "/node/c")).await;
    let workload = Eviction {
        node: id("/web"),
        ..eviction(true)
    };
    let refused = plane.authority.evict(workload, after(1)).await;
    assert_eq!(code(refused), "node_is_workload");
}

#[tokio::test]
async fn eviction_that_is_not_committed_ends_nothing() {
    let (plane, faults) = faulty(|_| ()).await;
    let (first, key) = (token(&plane, NODE).await, node_key());
    answered(&plane.authority, &first, &key, start())
        .await
        .unwrap();
    let from = plane.authority.ledger.log().size();
    set(&faults, Fault::Refuse(Kind::Node));
    let failed = plane.authority.evict(eviction(false), after(1)).await;
    assert!(matches!(failed, Err(AuthorityError::Unavailable(_))));
    assert_eq!(told(&plane, from)[1], format!("voided {from}"));
    assert!(is_known(&plane, NODE, &key));
    set(&faults, Fault::None);
    plane
        .authority
        .evict(eviction(false), after(1))
        .await
        .unwrap();
    assert!(!is_known(&plane, NODE, &key));
}

#[tokio::test]
async fn eviction_beside_an_enrolment_leaves_nothing_published() {
    let plane = Plane::new().await;
    let web = plane.register(registration("/web", NODE)).await;
    for _ in 0..10 {
        let node = plane.attest(NODE).await;
        let own = EntitlementId::node();
        let keys = (proven(&fresh_key(), &own), proven(&fresh_key(), &web));
        let authority = &plane.authority;
        let (_, _, evicted) = tokio::join!(
            authority.enrol(&node, &own, &keys.0, start()),
            authority.enrol(&node, &web, &keys.1, start()),
            authority.evict(eviction(false), start()),
        );
        evicted.unwrap();
        assert!(!is_known(&plane, NODE, &keys.0));
        for entitlement in [&own, &web] {
            assert!(plane.authority.published(&id(NODE), entitlement).is_none());
        }
    }
}

/// What the metrics show is how many nodes may come, not how many are remembered.
#[tokio::test]
async fn evicted_node_is_known_and_not_counted() {
    let plane = Plane::new().await;
    plane.attest("/node/other").await;
    let (first, key) = (token(&plane, NODE).await, node_key());
    let attested = answered(&plane.authority, &first, &key, start());
    attested.await.unwrap();
    let counts = || {
        (
            plane.authority.attested_count(),
            plane.authority.node_count(),
        )
    };
    assert_eq!(counts(), (2, 2));
    let evicted = plane.authority.evict(eviction(false), after(1));
    evicted.await.unwrap();
    assert_eq!(counts(), (1, 2));
}
