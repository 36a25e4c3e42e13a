//! What the issuance log tells, and what is found in it again.

use countersign_inventory::{Filter, Validity};
use countersign_proto::log::entry::What;
use countersign_proto::log::{Registered, Voided};
use countersign_refusal::Denied;
use futures_util::FutureExt as _;

use super::*;

/// The entries of the log from an index on, as words.
pub(super) fn told(plane: &Plane, from: u64) -> Vec<String> {
    let entries = plane.authority.ledger.log().scan(from);
    entries
        .map(|noted| match noted.unwrap().what().expect("a known kind") {
            What::Opened(it) => format!("opened {}", it.trust_domain),
            What::Issued(it) => format!("issued {}", it.profile),
            What::Registered(it) => format!("registered updated={}", it.updated),
            What::Removed(it) => format!("removed {} {}", it.id, it.reason),
            What::Rotated(it) => format!("rotated {} {}", it.tier, it.state),
            What::Refused(it) => format!("refused {} {} x{}", it.caller, it.code, it.count),
            What::Voided(it) => format!("voided {}", it.index),
            What::Evicted(it) => format!("evicted {} banned={} {}", it.node, it.banned, it.reason),
            What::Unbanned(it) => format!("unbanned {} {}", it.node, it.reason),
            What::Waived(it) => format!("waived {} {}", it.consumer, it.reason),
            What::Unwaived(it) => format!("unwaived {}", it.consumer),
            other => format!("{other:?}"),
        })
        .collect()
}

pub(super) fn everything(plane: &Plane) -> Vec<String> {
    let any = Filter {
        validity: Validity::Any,
        ..Filter::default()
    };
    let all = plane.authority.lineages(&any, start()).into_iter();
    all.map(|it| format!("{it:?}")).collect()
}

#[tokio::test]
async fn every_change_is_in_the_log() {
    let plane = Plane::new().await;
    let born = told(&plane, 0);
    assert_eq!(born[0], "opened example.org");
    assert!(born.contains(&"issued root-ca".to_owned()), "{born:?}");
    assert!(born.contains(&"rotated root active".to_owned()), "{born:?}");
    let from = plane.authority.ledger.log().size();
    let mut wanted = registration("/web", "/node/a");
    let web = plane.register(wanted.clone()).await;
    wanted.owner = "other".to_owned();
    plane.register(wanted).await;
    let node = plane.attest("/node/a").await;
    plane.enrol(&node, &web).await;
    plane.authority.rotate_issuing(after(1)).await.unwrap();
    let web = id("/web");
    let unregistered = plane.authority.unregister(&web, None, after(2));
    unregistered.await.unwrap();
    let denied = Denied {
        code: "not_entitled",
        message: String::new(),
        remedy: "",
    };
    for _ in 0..3 {
        let caller = node.id().as_str();
        plane.authority.refused(caller, &denied, after(2));
    }
    plane.authority.tick(after(62)).await.unwrap();
    let mut told = told(&plane, from);
    // The two CAs of a rotation come in the order of their random keys.
    told[4..6].sort();
    assert_eq!(
        told,
        [
            "registered updated=false",
            "registered updated=true",
            "issued x509-svid",
            "issued issuing-ca",
            "rotated issuing active",
            "rotated issuing retired",
            "removed spiffe://example.org/web unregistered",
            "refused spiffe://example.org/node/a not_entitled x3",
        ]
    );
}

#[tokio::test]
async fn refused_registration_leaves_no_entry() {
    let plane = Plane::new().await;
    let from = plane.authority.ledger.log().size();
    let mut wanted = registration("/web", "/node/a");
    wanted.owner = String::new();
    assert_eq!(plane.refused(wanted).await, "owner_invalid");
    assert!(told(&plane, from).is_empty());
}

#[tokio::test]
async fn change_that_was_never_committed_is_voided() {
    let plane = Plane::new().await;
    let web = plane.register(registration("/web", "/node/a")).await;
    let node = plane.attest("/node/a").await;
    plane.enrol(&node, &web).await;
    let mut never = registration("/web", "/node/a");
    never.owner = "nobody".to_owned();
    let lost = What::Registered(Registered {
        entitlement: web.to_string(),
        registration: serde_json::to_string(&never).unwrap(),
        updated: true,
    });
    let index = plane
        .authority
        .ledger
        .log()
        .note(start(), lost)
        .await
        .unwrap();
    let plane = plane.crash(after(1)).await;
    assert_eq!(told(&plane, index + 1), [format!("voided {index}")]);
    assert_eq!(plane.authority.registrations()[0].owner, "team-web");
    let listed = everything(&plane).join(" ");
    assert!(!listed.contains("nobody"), "{listed}");
    let plane = plane.restart(after(2)).await;
    assert_eq!(told(&plane, index + 2), [""; 0], "it is voided once");
}

#[tokio::test]
async fn inventory_is_read_from_the_log_again() {
    let plane = Plane::new().await;
    let web = plane.register(registration("/web", "/node/a")).await;
    let node = plane.attest("/node/a").await;
    plane.enrol(&node, &EntitlementId::node()).await;
    for _ in 0..3 {
        plane.enrol(&node, &web).await;
    }
    let mut changed = registration("/web", "/node/a");
    changed.owner = "team-two".to_owned();
    plane.register(changed).await;
    let before = everything(&plane);
    assert!(
        before.iter().any(|it| it.contains("team-two")),
        "{before:?}"
    );
    let plane = plane.restart(after(1)).await;
    assert_eq!(everything(&plane), before, "as it was written down");
    let file = plane.dir.path().join("cp/inventory");
    std::fs::write(&file, "damaged").unwrap();
    let plane = plane.crash(after(1)).await;
    assert_eq!(everything(&plane), before, "read from the log");
    plane.enrol(&node, &web).await;
    for _ in 0..2 {
        let saved = plane.authority.save_inventory(after(2), false);
        saved.await.unwrap();
    }
    plane.enrol(&node, &web).await;
    let before = everything(&plane);
    let plane = plane.crash(after(3)).await;
    assert_eq!(everything(&plane), before, "completed from the log");
}

#[tokio::test]
async fn history_walks_the_renewals() {
    let plane = Plane::new().await;
    let web = plane.register(registration("/web", "/node/a")).await;
    let node = plane.attest("/node/a").await;
    let mut serials = Vec::new();
    for _ in 0..4 {
        serials.push(plane.enrol(&node, &web).await.serial);
    }
    let shown = plane
        .authority
        .certificate(&serials[3].into(), 2)
        .await
        .unwrap();
    let history: Vec<_> = shown.history.iter().map(|it| it.serial).collect();
    assert_eq!(history, [serials[2], serials[1]]);
    assert_eq!(shown.lineage.unwrap().certificates, 4);
    let published = plane.authority.published(node.id(), &web).unwrap();
    assert_eq!(shown.der.as_deref(), Some(published.chain()[0].as_ref()));
    let plane = plane.restart(after(1)).await;
    let again = plane
        .authority
        .certificate(&serials[0].into(), 9)
        .await
        .unwrap();
    assert!(again.history.is_empty() && again.der.is_some());
}

#[tokio::test]
async fn old_bodies_go_and_what_is_valid_stays() {
    let day = 86_400;
    let plane = Plane::with(|settings| {
        settings.retention = Retention {
            age: Duration::from_secs(2 * 86_400),
            entries: 100,
        };
    })
    .await;
    let node = plane.attest("/node/a").await;
    let own = EntitlementId::node();
    let first = plane.enrol(&node, &own).await;
    // More than a segment of the journal, which keeps what it has until it is full.
    for _ in 0..10 {
        let note = |_| {
            plane
                .authority
                .ledger
                .log()
                .note(start(), What::Voided(Voided::default()))
        };
        let noted = futures_util::future::join_all((0..500).map(note)).await;
        assert!(noted.iter().all(Result::is_ok));
    }
    plane.authority.publish_log(after(1)).await.unwrap();
    plane.authority.prune_log(after(day)).await.unwrap();
    assert!(
        plane
            .authority
            .certificate(&first.serial.into(), 0)
            .await
            .is_ok(),
        "young"
    );
    plane.authority.prune_log(after(3 * day)).await.unwrap();
    assert_eq!(plane.authority.ledger.log().bytes().first_retained(), 4_096);
    let gone = plane.authority.certificate(&first.serial.into(), 0).await;
    assert_eq!(code(gone), "not_found");
    let checkpoint = plane.dir.path().join("cp/log/checkpoint");
    assert!(checkpoint.exists());
    let plane = plane.restart(after(3 * day)).await;
    assert_eq!(plane.authority.bundle().0.roots().len(), 1);
}

#[tokio::test]
async fn many_refusals_wait_for_one_disk_together() {
    let plane = Plane::new().await;
    let from = plane.authority.ledger.log().size();
    let denied = Denied {
        code: "not_entitled",
        message: String::new(),
        remedy: "",
    };
    for caller in 0..100 {
        let authority = &plane.authority;
        authority.refused(&format!("caller {caller}"), &denied, start());
    }
    // Looked at once, with less than a task may do at a time: all of them wait by then.
    let logged = plane
        .authority
        .ledger
        .log_refusals(start(), true)
        .now_or_never();
    assert!(logged.is_none_or(|logged| logged.is_ok()));
    let voided = What::Voided(Voided::default());
    let behind = plane
        .authority
        .ledger
        .log()
        .note(start(), voided)
        .await
        .unwrap();
    assert_eq!(behind - from, 100);
}
