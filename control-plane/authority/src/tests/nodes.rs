use futures_util::FutureExt;

use super::*;

#[tokio::test]
async fn token_is_kept_only_as_a_hash() {
    let plane = Plane::new().await;
    let (token, _) = plane
        .authority
        .create_token(&id("/node/a"), MINUTE, start())
        .await
        .unwrap();
    for file in plane.dir.path().join("cp").read_dir().unwrap() {
        let path = file.unwrap().path();
        if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            let found = bytes
                .windows(token.len())
                .any(|window| window == token.as_bytes());
            assert!(!found, "{}", path.display());
        }
    }
}

#[tokio::test]
async fn tokens_have_bounds() {
    let plane = Plane::new().await;
    let create = async |node: SpiffeId, secs| {
        let ttl = Duration::from_secs(secs);
        code(plane.authority.create_token(&node, ttl, start()).await)
    };
    assert_eq!(create(id("/node/a"), 9).await, "token_ttl_out_of_bounds");
    assert_eq!(
        create(id("/node/a"), 86_401).await,
        "token_ttl_out_of_bounds"
    );
    assert_eq!(create(id("/countersign/x"), 60).await, "id_reserved");
    assert_eq!(create(id(""), 60).await, "id_without_path");
    let foreign = SpiffeId::new("spiffe://other.org/node").unwrap();
    assert_eq!(create(foreign, 60).await, "foreign_trust_domain");
    plane.register(registration("/web", "/node/a")).await;
    assert_eq!(create(id("/web"), 60).await, "node_is_workload");
}

#[tokio::test]
async fn a_workload_svid_authenticates_nothing_at_the_control_plane() {
    let plane = Plane::new().await;
    let web = plane.register(registration("/web", "/node/a")).await;
    let node = plane.attest("/node/a").await;
    let own = plane.enrol(&node, &EntitlementId::node()).await;
    let svid = plane.enrol(&node, &web).await;
    let recognise = |svid: &PublishedSvid| {
        let seen = certificates::verify(&plane, &svid.chain(), after(1));
        plane.authority.recognise(&seen.id, &seen.spki_sha256)
    };
    assert_eq!(recognise(&own), Some(node));
    assert_eq!(recognise(&svid), None);
    let web_key = certificates::verify(&plane, &svid.chain(), after(1)).spki_sha256;
    assert_eq!(plane.authority.recognise(&id("/node/a"), &web_key), None);
}

#[tokio::test]
async fn node_is_known_by_its_newest_keys() {
    let plane = Plane::new().await;
    let node = plane.attest("/node/a").await;
    let mut keys = Vec::new();
    for _ in 0..3 {
        let svid = plane.enrol(&node, &EntitlementId::node()).await;
        keys.push(certificates::verify(&plane, &svid.chain(), after(1)).spki_sha256);
    }
    let known = |plane: &Plane| {
        let known = |key| plane.authority.recognise(&id("/node/a"), key).is_some();
        keys.iter().map(known).collect::<Vec<_>>()
    };
    assert_eq!(known(&plane), [false, true, true]);
    let plane = plane.restart(after(1)).await;
    assert_eq!(known(&plane), [false, true, true]);
    plane.attest("/node/a").await;
    assert_eq!(
        known(&plane),
        [false; 3],
        "an attestation begins a new lineage"
    );
    let plane = plane.restart(after(2)).await;
    assert_eq!(known(&plane), [false; 3]);
}

#[tokio::test]
async fn abandoned_enrolment_goes_on_to_its_end() {
    let plane = Plane::new().await;
    let node = plane.attest("/node/a").await;
    let own = EntitlementId::node();
    let key = proven(&fresh_key(), &own);
    let stream = plane.authority.hub().join(&id("/node/a"));
    let enrol = plane.authority.enrol(&node, &own, &key, start());
    assert!(enrol.now_or_never().is_none(), "its caller hangs up");
    let news = tokio::time::timeout(MINUTE, stream.news()).await;
    assert_eq!(svids(&news.unwrap()), [own.clone()].into());
    let issued = plane.authority.issued_total();
    plane
        .authority
        .enrol(&node, &own, &key, start())
        .await
        .unwrap();
    assert_eq!(plane.authority.issued_total(), issued, "found, not issued");
}

#[tokio::test]
async fn session_from_before_an_attestation_gets_nothing() {
    let plane = Plane::new().await;
    let web = plane.register(registration("/web", "/node/a")).await;
    let old = plane.attest("/node/a").await;
    plane.enrol(&old, &web).await;
    let new = plane.attest("/node/a").await;
    let from = plane.authority.ledger.log().size();
    for entitlement in [EntitlementId::node(), web.clone()] {
        let key = proven(&fresh_key(), &entitlement);
        let refused = plane.authority.enrol(&old, &entitlement, &key, start());
        assert_eq!(code(refused.await), "node_superseded");
    }
    assert_eq!(
        plane.authority.ledger.log().size(),
        from,
        "nothing was signed"
    );
    plane.enrol(&new, &EntitlementId::node()).await;
    plane.enrol(&new, &web).await;
}

/// Signatures are beside the log and are not synced: where the power goes they are made again, but not
/// those of a CA that was replaced since.
#[tokio::test]
async fn node_whose_signature_was_lost_is_recognised() {
    let plane = Plane::new().await;
    let node = plane.attest("/node/a").await;
    let own = plane.enrol(&node, &EntitlementId::node()).await;
    let seen = certificates::verify(&plane, &own.chain(), after(1));
    plane.authority.rotate_issuing(after(1)).await.unwrap();
    let signatures = plane.dir.path().join("cp/log/signatures");
    std::fs::remove_dir_all(&signatures).unwrap();
    let plane = plane.crash(after(2)).await;
    let recognised = plane.authority.recognise(&seen.id, &seen.spki_sha256);
    assert_eq!(recognised, Some(node), "it holds what the log says");
    let listed = plane.authority.published(&seen.id, &EntitlementId::node());
    assert!(
        listed.is_none(),
        "without a signature there is no chain to give"
    );
}

/// The power went before the signatures were on the disk, and the rights ended meanwhile.
#[tokio::test]
async fn entry_whose_right_ended_is_not_signed_at_a_start() {
    let plane = Plane::new().await;
    let web = plane.register(registration("/web", "/node/a")).await;
    let node = plane.attest("/node/a").await;
    let own = plane.enrol(&node, &EntitlementId::node()).await;
    let svid = plane.enrol(&node, &web).await;
    let gone = id("/web");
    let removed = plane.authority.unregister(&gone, None, start());
    removed.await.unwrap();
    // A lineage that is not the newest any more.
    plane.attest("/node/a").await;
    let signatures = plane.dir.path().join("cp/log/signatures");
    std::fs::remove_dir_all(&signatures).unwrap();
    let plane = plane.crash(after(2)).await;
    for serial in [own.serial, svid.serial] {
        let shown = plane
            .authority
            .certificate(&serial.into(), 0)
            .await
            .unwrap();
        assert_eq!(shown.der, None, "{serial} is signed");
    }
}
