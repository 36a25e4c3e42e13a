use countersign_model::Hint;

use super::super::{Applied, Field, MAX_APPLIED};
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
    let written = plane.authority.register(whole(wanted), false, after(60));
    let written = written.await.unwrap();
    assert_eq!(written.changed, [Field::Owner]);
    assert_eq!(written.before.as_ref(), Some(&first));
    let kept = written.registration;
    assert_eq!(
        (kept.created_at, kept.created_seq),
        (start(), first.created_seq)
    );
    assert_eq!(kept.owner, "team-two");
    assert_eq!(plane.authority.registrations(), [kept]);
}

/// Writes some fields of `/web`, and leaves the others.
fn some(given: &[Field], change: impl FnOnce(&mut Registration)) -> RegistrationRequest {
    let mut registration = registration("/web", "/node/a");
    registration.owner = String::new();
    change(&mut registration);
    RegistrationRequest {
        registration,
        names_criticality: false,
        mode: Mode::Merge(given.iter().copied().collect()),
    }
}

#[tokio::test]
async fn two_operators_keep_each_others_fields() {
    let plane = Plane::new().await;
    plane.register(registration("/web", "/node/a")).await;
    let names = some(&[Field::Dns], |it| it.dns = vec!["web.local".to_owned()]);
    let labels = some(&[Field::Labels], |it| {
        it.labels = [("env".to_owned(), "prod".to_owned())].into();
    });
    let write = |request| plane.authority.register(request, false, after(1));
    let (one, other) = tokio::join!(write(names), write(labels));
    assert_eq!(one.unwrap().changed, [Field::Dns]);
    assert_eq!(other.unwrap().changed, [Field::Labels]);
    let kept = plane.authority.registrations().remove(0);
    assert_eq!(
        (&*kept.owner, kept.dns.len(), kept.labels.len()),
        ("team-web", 1, 1)
    );
}

#[tokio::test]
async fn what_changes_nothing_reaches_neither_log_nor_store() {
    let plane = Plane::new().await;
    plane.register(registration("/web", "/node/a")).await;
    let before = || (plane.authority.ledger.log().size(), plane.authority.stamp());
    let then = before();
    for request in [some(&[], |_| ()), whole(registration("/web", "/node/a"))] {
        let written = plane
            .authority
            .register(request, false, after(5))
            .await
            .unwrap();
        assert!(written.is_unchanged());
    }
    let dry = whole(registration("/new", "/node/a"));
    let planned = plane.authority.register(dry, true, after(5)).await.unwrap();
    assert_eq!(
        (planned.before, planned.changed),
        (None, vec![Field::Owner])
    );
    let now = before();
    assert_eq!(now.0, then.0, "nothing is logged");
    // A database that several share is asked by a commit whether it is so.
    assert!(plane.authority.store.keeps_log() || now.1 == then.1);
    assert_eq!(plane.authority.registrations().len(), 1);
}

#[tokio::test]
async fn what_is_created_must_be_new() {
    let plane = Plane::new().await;
    let create = || RegistrationRequest {
        mode: Mode::Create,
        ..whole(registration("/web", "/node/a"))
    };
    plane
        .authority
        .register(create(), false, start())
        .await
        .unwrap();
    let refused = plane.authority.register(create(), false, start()).await;
    assert_eq!(code(refused), "already_registered");
    let nobodys = some(&[Field::Dns], |it| it.key.id = id("/new"));
    let refused = plane.authority.register(nobodys, false, start()).await;
    assert_eq!(
        code(refused),
        "owner_invalid",
        "a merge makes none without an owner"
    );
}

async fn apply(plane: &Plane, wanted: Vec<Registration>) -> Applied {
    let requests = wanted.into_iter().map(whole).collect();
    plane
        .authority
        .apply(requests, false, start())
        .await
        .unwrap()
}

#[tokio::test]
async fn applied_are_all_or_none() {
    let plane = Plane::new().await;
    plane.register(registration("/old", "/node/a")).await;
    let wanted = || {
        ["/old", "/a", "/b"]
            .map(|path| registration(path, "/node/a"))
            .to_vec()
    };
    let codes = |applied: &Applied| {
        let items = applied.items.iter();
        items
            .map(|it| it.as_ref().map_err(|it| it.code).map(drop))
            .collect::<Vec<_>>()
    };
    let spoils: [(&str, Spoil); 4] = [
        ("dns_invalid", &|it| it.dns = vec!["*".to_owned()]),
        ("id_is_node", &|it| {
            it.key = on_node(id("/n"), id("/node/b"));
        }),
        ("registered_twice", &|it| it.key.id = id("/a")),
        ("owner_invalid", &|it| it.owner = String::new()),
    ];
    for (expected, spoil) in spoils {
        let mut wanted = wanted();
        spoil(&mut wanted[2]);
        // Of two that contradict each other neither stands.
        wanted[0].key.id = if wanted[2].key.id == id("/n") {
            id("/node/b")
        } else {
            id("/old")
        };
        let (size, before) = (
            plane.authority.ledger.log().size(),
            plane.authority.registrations(),
        );
        let applied = apply(&plane, wanted).await;
        assert!(!applied.is_committed);
        assert!(codes(&applied).contains(&Err(expected)), "{applied:?}");
        assert_eq!(codes(&applied)[1], Ok(()));
        assert_eq!(plane.authority.ledger.log().size(), size);
        assert_eq!(plane.authority.registrations(), before);
    }
    let size = plane.authority.ledger.log().size();
    let next = plane.authority.state.sequence() + 1;
    let applied = apply(&plane, wanted()).await;
    assert!(applied.is_committed);
    assert_eq!(
        plane.authority.ledger.log().size(),
        size + 2,
        "one is unchanged"
    );
    let written = applied
        .items
        .into_iter()
        .flatten()
        .map(|it| it.registration);
    let written: Vec<_> = written.collect();
    let seqs: Vec<_> = written.iter().map(|it| it.created_seq).collect();
    assert_eq!(seqs[1..], [next + 1, next + 2], "in the order of the file");
    let kept = plane.restart(after(1)).await.authority.registrations();
    assert!(kept.len() == 3 && written.iter().all(|it| kept.contains(it)));
}

/// A file is applied every night: what ends on its way stops nothing else of it.
#[tokio::test]
async fn applied_again_is_not_judged_again() {
    let plane = Plane::new().await;
    let ending = || {
        let mut wanted = registration("/web", "/node/a");
        wanted.expires_at = Some(after(600));
        wanted
    };
    plane.register(ending()).await;
    let wanted = [ending(), registration("/urgent", "/node/a")];
    let requests = wanted.map(whole).to_vec();
    let applied = plane.authority.apply(requests, false, after(595)).await;
    let applied = applied.unwrap();
    assert!(applied.is_committed, "{applied:?}");
    assert!(applied.items[0].as_ref().unwrap().is_unchanged());
    assert_eq!(plane.authority.registrations().len(), 2);
}

#[tokio::test]
async fn applied_are_bounded() {
    let plane = Plane::new().await;
    plane.authority.state.write().registry.most = 2;
    let wanted = |count| (0..count).map(|n| registration(&format!("/w/{n}"), "/node/a"));
    let applied = apply(&plane, wanted(3).collect()).await;
    let last = applied.items[2].as_ref().unwrap_err();
    assert_eq!(last.code, "too_many_registrations");
    assert!(apply(&plane, wanted(2).collect()).await.is_committed);
    let requests = wanted(MAX_APPLIED + 1).map(whole).collect();
    let refused = plane.authority.apply(requests, false, start()).await;
    assert_eq!(code(refused), "too_many_at_once");
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
    let before = plane.authority.state.sequence();
    plane.register(wanted).await;
    let raised = before + 1..=plane.authority.state.sequence();
    assert!(
        raised.contains(&epoch()),
        "at most the commit of the change"
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

/// By the order of commits, whatever the clock said: it was set back, then forward.
#[tokio::test]
async fn returned_registration_is_told_from_the_one_before() {
    let plane = Plane::new().await;
    let web = plane.register(registration("/web", "/node/a")).await;
    let node = plane.attest("/node/a").await;
    plane.enrol(&node, &web).await;
    let register = async |plane: &Plane, registration, now| {
        let request = whole(registration);
        plane.authority.register(request, false, now).await.unwrap();
    };
    let removed = plane.authority.unregister(&id("/web"), None, start()).await;
    removed.unwrap();
    register(&plane, registration("/web", "/node/a"), after(-3_600)).await;
    let plane = plane.restart(after(1)).await;
    assert!(
        plane.authority.published(node.id(), &web).is_none(),
        "it was made for the one that was removed"
    );

    let removed = plane.authority.unregister(&id("/web"), None, start()).await;
    removed.unwrap();
    register(&plane, registration("/web", "/node/a"), after(3_600)).await;
    let its = plane.enrol(&node, &web).await;
    let mut changed = registration("/web", "/node/a");
    changed.dns = vec!["web.example.org".to_owned()];
    register(&plane, changed, after(2)).await;
    let plane = plane.restart(after(3)).await;
    let found = plane.authority.published(node.id(), &web);
    assert_eq!(found.expect("it goes on").serial, its.serial);
}
