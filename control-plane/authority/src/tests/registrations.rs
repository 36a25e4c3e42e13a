use countersign_model::Hint;

use super::*;

/// Makes a good registration bad.
type Spoil<'a> = &'a dyn Fn(&mut Registration);

#[tokio::test]
async fn same_key_updates_and_keeps_its_age() {
    let plane = Plane::new().await;
    plane.register(registration("/web", "/node/a")).await;
    let first = plane.authority.registrations().remove(0);
    let mut wanted = first.clone();
    wanted.owner = "team-two".to_owned();
    wanted.created_at = after(500);
    let request = RegistrationRequest {
        registration: wanted,
        names_criticality: true,
    };
    let (kept, was_there) = plane.authority.register(request, after(60)).await.unwrap();
    assert!(was_there);
    assert_eq!(
        (kept.created_at, kept.created_seq),
        (start(), first.created_seq)
    );
    assert_eq!(kept.owner, "team-two");
    assert_eq!(plane.authority.registrations(), [kept]);
}

#[tokio::test]
async fn what_may_not_be_registered_is_refused_by_rule() {
    let plane = Plane::new().await;
    plane.register(registration("/web", "/node/a")).await;
    plane.attest("/node/b").await;
    let minute = plane
        .authority
        .create_token(&id("/node/c"), MINUTE, start())
        .await;
    minute.unwrap();
    let with = |change: &dyn Fn(&mut Registration)| {
        let mut wanted = registration("/new", "/node/a");
        change(&mut wanted);
        wanted
    };
    let cases: [(&str, Spoil); 20] = [
        ("id_reserved", &|r| {
            r.key.id = id("/countersign/control-plane");
        }),
        ("id_reserved", &|r| r.key.id = id("/countersign")),
        ("id_reserved", &|r| {
            r.key = on_node(id("/new"), id("/countersign/x"));
        }),
        ("id_without_path", &|r| r.key.id = id("")),
        ("foreign_trust_domain", &|r| {
            r.key.id = SpiffeId::new("spiffe://b.org/w").unwrap();
        }),
        ("id_is_node", &|r| r.key.id = id("/node/a")),
        ("id_is_node", &|r| r.key.id = id("/node/b")),
        ("id_is_node", &|r| r.key.id = id("/node/c")),
        ("node_is_workload", &|r| {
            r.key = on_node(id("/new"), id("/web"));
        }),
        ("owner_invalid", &|r| r.owner = String::new()),
        ("owner_invalid", &|r| r.owner = "x".repeat(129)),
        ("owner_invalid", &|r| r.owner = "a\nb".to_owned()),
        ("ttl_out_of_bounds", &|r| {
            r.x509_ttl = Some(Duration::from_secs(19));
        }),
        ("ttl_out_of_bounds", &|r| {
            r.x509_ttl = Some(Duration::from_secs(86_401));
        }),
        ("ttl_beyond_issuer", &|r| {
            r.x509_ttl = Some(Duration::from_secs(14_401));
        }),
        ("dns_invalid", &|r| r.dns = vec!["*.web".to_owned()]),
        ("dns_invalid", &|r| r.dns = vec!["Web".to_owned()]),
        ("dns_invalid", &|r| r.dns = vec!["10.0.0.1".to_owned()]),
        ("dns_invalid", &|r| {
            r.dns = vec!["web".to_owned(), "web".to_owned()];
        }),
        ("dns_invalid", &|r| {
            r.dns = (0..17).map(|n| format!("w{n}")).collect();
        }),
    ];
    for (number, (expected, change)) in cases.into_iter().enumerate() {
        assert_eq!(plane.refused(with(change)).await, expected, "case {number}");
    }
    assert_eq!(plane.authority.registrations().len(), 1);
}

#[tokio::test]
async fn absence_is_not_removal() {
    let plane = Plane::new().await;
    let web = plane.register(registration("/web", "/node/a")).await;
    let node = plane.attest("/node/a").await;
    let svid = plane.enrol(&node, &web).await;
    let was_removed = |plane: &Plane| plane.authority.was_removed(&id("/node/a"), &web);
    assert!(!was_removed(&plane));
    let stream = plane.authority.hub().join(&id("/node/a"));
    let removed = plane
        .authority
        .unregister(&id("/web"), None, after(1))
        .await
        .unwrap();
    assert_eq!(removed.valid_until, Some(svid.lifetime.not_after));
    assert_eq!(entitlements(&stream.news().await), [web.clone()].into());
    assert!(was_removed(&plane));
    assert_eq!(
        plane.authority.removed(&id("/node/a")),
        std::slice::from_ref(&web)
    );
    assert!(plane.authority.published(&id("/node/a"), &web).is_none());
    let key = proven(&fresh_key(), &web);
    let late = plane.authority.enrol(&node, &web, &key, after(2)).await;
    assert_eq!(code(late), "not_entitled");
    let again = plane
        .authority
        .unregister(&id("/web"), None, after(1))
        .await;
    assert_eq!(code(again), "not_found");

    let plane = plane.restart(after(3_000)).await;
    assert!(was_removed(&plane));
    assert!(plane.authority.published(&id("/node/a"), &web).is_none());
    plane.authority.tick(after(86_400)).await.unwrap();
    assert!(was_removed(&plane), "a day at least");
    plane.authority.tick(after(86_402)).await.unwrap();
    assert!(!was_removed(&plane));
}

#[tokio::test]
async fn returned_registration_needs_a_fresh_key() {
    let plane = Plane::new().await;
    let web = plane.register(registration("/web", "/node/a")).await;
    let node = plane.attest("/node/a").await;
    let key = proven(&fresh_key(), &web);
    let enrol = async |secs| plane.authority.enrol(&node, &web, &key, after(secs)).await;
    enrol(0).await.unwrap();
    plane
        .authority
        .unregister(&id("/web"), None, after(1))
        .await
        .unwrap();
    plane.register(registration("/web", "/node/a")).await;
    assert!(!plane.authority.was_removed(&id("/node/a"), &web));
    assert_eq!(code(enrol(2).await), "key_superseded");
}

#[tokio::test]
async fn changed_names_raise_the_key_epoch() {
    let plane = Plane::new().await;
    let mut wanted = registration("/web", "/node/a");
    plane.register(wanted.clone()).await;
    let epoch = || plane.authority.entitlements(&id("/node/a"))[0].min_key_epoch;
    assert_eq!(epoch(), 0);
    wanted.owner = "other".to_owned();
    plane.register(wanted.clone()).await;
    assert_eq!(epoch(), 0, "an owner is not in the certificate");
    wanted.dns = vec!["web.local".to_owned()];
    plane.register(wanted).await;
    assert_eq!(
        epoch(),
        plane.authority.ledger.log().size() - 1,
        "the entry of the change"
    );
}

#[tokio::test]
async fn hostile_text_comes_back_byte_equal() {
    let plane = Plane::new().await;
    let hostile = [
        "'; DROP TABLE entries; --",
        "\" OR 1=1 --",
        "\\'; SELECT * FROM issuance; /*",
        "%s%n${jndi:ldap://x}",
        "\u{202e}\u{feff}Ω🦀",
        "NULL",
        "{\"kind\":\"meta\"}",
        "?1 :name @x $y",
    ];
    for (n, text) in hostile.iter().enumerate() {
        let mut wanted = registration(&format!("/web/{n}"), "/node/a");
        wanted.owner = (*text).to_owned();
        wanted.hint = Some(Hint::try_from((*text).to_owned()).unwrap());
        plane.register(wanted).await;
    }
    let plane = plane.restart(after(1)).await;
    let found = plane.authority.registrations();
    for (kept, text) in found.iter().zip(hostile) {
        assert_eq!(kept.owner, text);
        assert_eq!(kept.hint.as_ref().map(Hint::as_str), Some(text));
    }
    assert_eq!(found.len(), hostile.len());
}

#[tokio::test]
async fn registrations_are_bounded_and_updates_are_not() {
    let plane = Plane::new().await;
    plane.authority.state.write().registry.most = 2;
    plane.register(registration("/a", "/node/a")).await;
    plane.register(registration("/b", "/node/a")).await;
    let third = || registration("/c", "/node/b");
    assert_eq!(plane.refused(third()).await, "too_many_registrations");
    let mut known = registration("/b", "/node/a");
    known.owner = "another".to_owned();
    plane.register(known).await;
    plane
        .authority
        .unregister(&id("/a"), None, start())
        .await
        .unwrap();
    plane.register(third()).await;
}
