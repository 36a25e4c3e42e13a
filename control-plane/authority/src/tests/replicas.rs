//! Two control planes on one database, in one process, each with a log and an issuing CA of its own.

mod gates;
mod gone;
mod levels;
mod moving;
mod starts;

use countersign_audit::{Audit, Verdict};
use countersign_ca::log::{FOLDER, sealed_folder};
use countersign_proto::log::entry::What;
use countersign_tests_postgres::{Database, shared};

use super::super::{Act, Eviction, Reached, Reason, RemovedReplica, Replica, SlotState};
use super::*;

/// Two of them, `a` first.
struct Two {
    _database: Database,
    a: Plane,
    b: Plane,
}

fn named(url: &str, replica: &str) -> StoreSettings {
    StoreSettings::Postgres {
        address: DatabaseAddress::parse(url, None).unwrap(),
        replica: replica.to_owned(),
        invitation: None,
    }
}

/// Settings of `b`, with its invitation.
async fn invited(a: &Plane, url: &str, dir: &Dir) -> Settings {
    let invited = a.authority.invite_replica("b", 10 * MINUTE, start()).await;
    let (invitation, _) = invited.unwrap();
    let mut settings = settings(&dir.path().join("cp"));
    settings.store = named(url, "b");
    if let StoreSettings::Postgres { invitation: of, .. } = &mut settings.store {
        *of = Some(invitation);
    }
    settings
}

impl Two {
    /// Both have the key of the root.
    async fn new() -> Self {
        Self::with(true).await
    }

    async fn with(has_root: bool) -> Self {
        let database = shared().database();
        let url = database.url().to_string();
        let a = Plane::with(|settings| settings.store = named(&url, "a")).await;
        let dir = Dir::new();
        let settings = invited(&a, &url, &dir).await;
        // The root's key belongs to a role that both have here.
        let root = &a.authority.tiers().roots[0].key_id;
        let keys = |plane: &Path| plane.join("cp/keys");
        std::fs::create_dir_all(keys(dir.path())).unwrap();
        for file in keys(a.dir.path()).read_dir().unwrap() {
            let file = file.unwrap();
            let is_root = file.file_name().to_string_lossy().contains(root.as_str());
            if is_root && has_root {
                std::fs::copy(file.path(), keys(dir.path()).join(file.file_name())).unwrap();
            }
        }
        let authority = Authority::open(settings, start()).await.unwrap();
        let two = Self {
            _database: database,
            a,
            b: Plane { dir, authority },
        };
        two.agree().await;
        two
    }

    /// Waits until each knows what the other does.
    async fn agree(&self) {
        for (one, other) in [(&self.a, &self.b), (&self.b, &self.a)] {
            let sequence = other.authority.stamp().sequence;
            assert_eq!(one.authority.reach(sequence).await, Reached::Here);
        }
    }

    /// Waits until one shows the newest certificate of the other.
    async fn shown(&self, by: &Plane, svid: &PublishedSvid) -> Arc<PublishedSvid> {
        let shown = async {
            loop {
                let newest = by.authority.published(&svid.node, &svid.entitlement);
                match newest.filter(|it| it.serial == svid.serial) {
                    Some(shown) => return shown,
                    None => tokio::task::yield_now().await,
                }
            }
        };
        tokio::time::timeout(MINUTE, shown).await.unwrap()
    }
}

#[tokio::test]
async fn what_one_replica_gives_the_other_knows() {
    let two = Two::new().await;
    let (a, b) = (&two.a, &two.b);
    let states: Vec<_> = b.authority.replicas();
    assert!(
        states
            .iter()
            .all(|(_, it)| matches!(it, Replica::Joined { .. }))
    );
    assert_eq!(states.len(), 2);

    let web = a.register(registration("/web", "/node/a")).await;
    let node = a.attest("/node/a").await;
    let own = a.enrol(&node, &EntitlementId::node()).await;
    let svid = a.enrol(&node, &web).await;
    let shown = two.shown(b, &svid).await;
    assert_eq!(shown.chain(), svid.chain());
    two.shown(b, &own).await;

    // The node goes to the other one with the key that it has, and renews there.
    let chain = own.chain();
    let (_, leaf) = X509Certificate::from_der(&chain[0]).unwrap();
    let spki = Sha256::digest(leaf.public_key().raw);
    let there = b
        .authority
        .recognise(&own.node, &spki.into())
        .expect("it is recognised");
    let renewed = b.enrol(&there, &web).await;
    assert_ne!(renewed.serial.log_id(), svid.serial.log_id());
    two.shown(a, &renewed).await;
    assert_ne!(
        a.authority.tiers().issuing[0].key_id,
        a.authority.tiers().issuing[1].key_id
    );
    // And both find it again after a restart.
    let Two { _database, a, b } = two;
    let (a, b) = (a.restart(after(1)).await, b.restart(after(1)).await);
    for plane in [&a, &b] {
        let newest = plane.authority.published(&svid.node, &web).unwrap();
        assert_eq!(newest.serial, renewed.serial);
    }
}

#[tokio::test]
async fn same_key_is_given_the_same_certificate_by_the_other() {
    let two = Two::new().await;
    let web = two.a.register(registration("/web", "/node/a")).await;
    let node = two.a.attest("/node/a").await;
    let pair = fresh_key();
    let key = proven(&pair, &web);
    let svid = two
        .a
        .authority
        .enrol(&node, &web, &key, start())
        .await
        .unwrap();
    two.shown(&two.b, &svid).await;
    let again = two
        .b
        .authority
        .enrol(&node, &web, &key, start())
        .await
        .unwrap();
    assert_eq!(again.serial, svid.serial);
    // It is nobody else's.
    let api = two.b.register(registration("/api", "/node/a")).await;
    let key = proven(&pair, &api);
    let refused = two.b.authority.enrol(&node, &api, &key, start()).await;
    assert_eq!(code(refused), "key_in_use");
}

/// Both may have logged a certificate before they hear of the other's. The first that is logged is given.
#[tokio::test]
async fn key_raced_on_two_replicas_goes_to_the_first() {
    let two = Two::new().await;
    let web = two.a.register(registration("/web", "/node/a")).await;
    let api = two.b.register(registration("/api", "/node/b")).await;
    two.agree().await;
    let of_a = two.a.attest("/node/a").await;
    let of_b = two.b.attest("/node/b").await;
    for round in 0..50 {
        let pair = fresh_key();
        let (for_a, for_b) = (proven(&pair, &web), proven(&pair, &api));
        let (a, b) = tokio::join!(
            two.a.authority.enrol(&of_a, &web, &for_a, start()),
            two.b.authority.enrol(&of_b, &api, &for_b, start()),
        );
        assert_ne!(a.is_ok(), b.is_ok(), "round {round}: {a:?}, {b:?}");
        two.agree().await;
        for plane in [&two.a, &two.b] {
            let state = plane.authority.state.read();
            let is_of = |node: &AttestedNode, entitlement, key: &ProvenKey| {
                let sha256 = key.spki_sha256();
                let bound = state
                    .keys
                    .check_holder(&sha256, node.id(), entitlement, start());
                bound.is_ok()
            };
            assert_eq!(is_of(&of_a, &web, &for_a), a.is_ok(), "round {round}");
            assert_eq!(is_of(&of_b, &api, &for_b), b.is_ok(), "round {round}");
        }
    }
}

#[tokio::test]
async fn token_raced_on_two_replicas_attests_once() {
    const ROUNDS: usize = 100;
    const CALLERS: usize = 64;
    let two = Two::new().await;
    for round in 0..ROUNDS {
        let raced = id(&format!("/node/{round}"));
        let made = two.a.authority.create_token(&raced, 10 * MINUTE, start());
        let (token, _) = made.await.unwrap();
        two.agree().await;
        let attest = |plane: &Plane| {
            let (authority, token) = (plane.authority.clone(), token.clone());
            let key = proven(&fresh_key(), &EntitlementId::node());
            tokio::spawn(async move { authority.attest_join_token(&token, &key, start()).await })
        };
        let planes = [&two.a, &two.b].into_iter().cycle().take(CALLERS);
        let all: Vec<_> = planes.map(attest).collect();
        let mut won = 0;
        for attested in all {
            match attested.await.unwrap() {
                Ok(_) => won += 1,
                refused => assert_eq!(code(refused), "token_used"),
            }
        }
        assert_eq!(won, 1, "round {round}");
    }
}

#[tokio::test]
async fn acts_on_both_replicas_are_all_made() {
    const ACTS: usize = 12;
    let two = Two::new().await;
    let acting = |plane: &Plane, name: &'static str| {
        let authority = plane.authority.clone();
        tokio::spawn(async move {
            for n in 0..ACTS {
                let wanted = whole(registration(&format!("/{name}/{n}"), "/node/a"));
                authority.register(wanted, false, start()).await.unwrap();
            }
        })
    };
    let both = [acting(&two.a, "one"), acting(&two.b, "other")];
    for acted in both {
        acted.await.unwrap();
    }
    two.agree().await;
    let [a, b] = [&two.a, &two.b].map(|plane| plane.authority.registrations());
    assert_eq!((a.len(), &a), (2 * ACTS, &b));
}

#[tokio::test]
async fn node_that_one_replica_evicts_is_out_at_the_other() {
    let two = Two::new().await;
    let node = two.a.attest("/node/a").await;
    let own = two.a.enrol(&node, &EntitlementId::node()).await;
    two.shown(&two.b, &own).await;
    let eviction = Eviction {
        node: node.id().clone(),
        act: Act {
            reason: Reason::new("key copied").unwrap(),
            operator: "operator uid 0".to_owned(),
        },
        is_ban: true,
    };
    two.a.authority.evict(eviction, start()).await.unwrap();
    two.agree().await;
    let mine = EntitlementId::node();
    let key = proven(&fresh_key(), &mine);
    let refused = two.b.authority.enrol(&node, &mine, &key, start());
    assert_eq!(code(refused.await), "node_superseded");
    assert!(
        two.b
            .authority
            .published(node.id(), &EntitlementId::node())
            .is_none()
    );
}

/// The key of the root stays with `a`: `b` makes a key of its own and asks for its certificate.
#[tokio::test]
async fn replica_without_the_root_is_given_its_issuing_ca() {
    let two = Two::with(false).await;
    let (a, b) = (&two.a, &two.b);
    let web = a.register(registration("/web", "/node/a")).await;
    let node = a.attest("/node/a").await;
    two.agree().await;
    let key = proven(&fresh_key(), &web);
    let refused = b.authority.enrol(&node, &web, &key, start()).await;
    assert!(matches!(refused, Err(AuthorityError::Unavailable(_))));
    assert!(!b.authority.obstacles(start()).is_empty());
    a.authority.tick(after(1)).await.unwrap();
    two.agree().await;
    assert_eq!(b.authority.obstacles(after(1)), Vec::<String>::new());
    let svid = b
        .authority
        .enrol(&node, &web, &key, after(1))
        .await
        .unwrap();
    two.shown(a, &svid).await;
    assert_eq!(b.authority.tiers().issuing.len(), 2);
}

/// The bundle is everybody's: a root that one prepares is trusted by what the other says.
#[tokio::test]
async fn root_that_one_replica_prepares_is_in_the_bundle_of_the_other() {
    let two = Two::new().await;
    let prepared = two.a.authority.prepare_root(after(1)).await.unwrap();
    two.agree().await;
    let (of_a, of_b) = (two.a.authority.bundle(), two.b.authority.bundle());
    assert_eq!((of_a.0.version(), of_a.1), (of_b.0.version(), of_b.1));
    let known = two.b.authority.prepared_root().unwrap();
    assert_eq!(known.key_id, prepared.key_id);
}

#[tokio::test]
async fn each_replica_says_that_it_is_there() {
    let two = Two::new().await;
    two.a.authority.tick(after(60)).await.unwrap();
    two.b.authority.tick(after(60)).await.unwrap();
    two.agree().await;
    let listed = two.a.authority.listed_replicas(after(60));
    let [a, b] = &listed[..] else {
        panic!("{listed:?}")
    };
    let said = b.said.as_ref().unwrap();
    assert_eq!((said.at, said.streams), (after(60), 0));
    assert!(said.sequence > 0 && !said.version.is_empty());
    assert_eq!((a.standing.state, b.standing.state), ("live", "live"));
    assert_eq!((a.answers, b.answers), (true, false));
    assert_eq!(
        (a.ends_by_time, b.ends_by_time),
        (true, false),
        "the first by name"
    );
    assert!(a.issuing.is_some() && b.issuing.is_some());
    let of_b = two.b.authority.listed_replicas(after(60));
    assert_eq!((of_b[0].ends_by_time, of_b[1].ends_by_time), (true, false));
}

/// A seal that was cut short behind its fence is shown by everybody until it is finished.
#[tokio::test]
async fn fence_without_a_seal_is_shown_with_its_command() {
    let two = Two::new().await;
    two.b.authority.tick(after(60)).await.unwrap();
    two.agree().await;
    let a = &two.a.authority;
    a.store.fence_out("b").await.unwrap();
    a.say_fenced_out("b", after(61)).await.unwrap();
    let standing = |now| a.listed_replicas(now)[1].standing;
    let fenced = standing(after(62));
    assert_eq!((fenced.state, fenced.since), ("fenced", Some(after(61))));
    assert!(fenced.needs_attention);
    // It counts as nobody who is there, also at a start that finds it so.
    assert!(a.listed_replicas(after(62))[0].ends_by_time);
    a.seal_replica("b", true, after(90)).await.unwrap();
    let sealed = standing(after(91));
    assert_eq!((sealed.state, sealed.needs_attention), ("sealed", false));
    assert_eq!(a.listed_replicas(after(91))[1].said, None);
}

/// When `b` has been silent for so long that it is not taken for alive.
const SILENT: i64 = 20;

/// What `a` and the logs that it sealed look like from outside.
async fn audited(a: &Plane, sealed: &[u32]) -> Verdict {
    a.authority.publish_log(after(SILENT)).await.unwrap();
    let data_dir = a.dir.path().join("cp");
    let others = sealed.iter().map(|id| sealed_folder(&data_dir, *id));
    let logs = [data_dir.join(FOLDER)].into_iter().chain(others).collect();
    let audit = Audit {
        logs,
        ..Audit::default()
    };
    audit.judge(&|_, _| ()).unwrap()
}

#[tokio::test]
async fn dead_replica_is_sealed_by_the_one_that_is_left() {
    let two = Two::new().await;
    let web = two.a.register(registration("/web", "/node/a")).await;
    two.agree().await;
    let node = two.b.attest("/node/a").await;
    two.b.enrol(&node, &EntitlementId::node()).await;
    let svid = two.b.enrol(&node, &web).await;
    two.shown(&two.a, &svid).await;
    let Two {
        _database: database,
        a,
        b,
    } = two;
    let log_id = svid.serial.log_id();
    let size = b.authority.ledger.log().size();
    let dir = b.dir.path().join("cp");
    drop(b);
    assert!(!dir.exists(), "it is gone with its disk");

    let alive = a.authority.seal_replica("b", false, start()).await;
    assert_eq!(code(alive), "replica_alive");
    let sealed = a.authority.seal_replica("b", false, after(SILENT)).await;
    let sealed = sealed.unwrap();
    assert_eq!((sealed.log_id, sealed.size), (log_id, size));
    assert!(!sealed.was_sealed);

    let verdict = audited(&a, &[log_id]).await;
    assert!(verdict.sound, "{:?}", verdict.flaws);
    assert!(verdict.missing.is_empty(), "{:?}", verdict.missing);
    assert_eq!(verdict.logs[1].size, size);
    let [seal] = &verdict.logs[0].seals[..] else {
        panic!("{:?}", verdict.logs[0]);
    };
    assert_eq!((seal.replica.as_str(), seal.size), ("b", size));
    assert_eq!(seal.root_hash, sealed.root_hash);

    // What it issued is known and valid, and it signs nothing any more.
    let shown = a.authority.published(&svid.node, &web).unwrap();
    assert_eq!(shown.serial, svid.serial);
    let issuing = a.authority.tiers().issuing;
    let its = issuing.iter().filter(|ca| ca.replica == "b");
    let states: Vec<_> = its.map(|ca| ca.state).collect();
    assert_eq!(states, [SlotState::Retired]);
    let again = a.authority.seal_replica("b", false, after(SILENT)).await;
    assert!(again.unwrap().was_sealed);
    // As one does whose tiles went with another that had sealed it.
    let folder = sealed_folder(&a.dir.path().join("cp"), log_id);
    std::fs::remove_dir_all(&folder).unwrap();
    let again = a.authority.seal_replica("b", false, after(SILENT)).await;
    assert_eq!(again.unwrap().folder, Some(folder));
    let verdict = audited(&a, &[log_id]).await;
    assert!(verdict.sound, "{:?}", verdict.flaws);
    assert_eq!(verdict.logs[1].root_hash, sealed.root_hash);
    let renewed = a.enrol(&node, &web).await;
    assert_ne!(renewed.serial.log_id(), log_id);

    let dir = Dir::new();
    let mut settings = settings(&dir.path().join("cp"));
    settings.store = named(&database.url().to_string(), "b");
    let refused = Authority::open(settings, after(SILENT)).await;
    assert_eq!(code(refused), "replica_sealed");
    // And after a restart of the one that sealed all is as it was.
    let a = a.restart(after(SILENT)).await;
    let sealed = a.authority.replicas();
    assert!(matches!(sealed[1].1, Replica::Sealed { .. }), "{sealed:?}");
}

/// It was cut off, or stood still: it comes back after its log was sealed.
#[tokio::test]
async fn sealed_replica_that_runs_on_issues_nothing() {
    let two = Two::new().await;
    let (a, b) = (&two.a, &two.b);
    let web = a.register(registration("/web", "/node/a")).await;
    let node = a.attest("/node/a").await;
    two.agree().await;
    let first = b.enrol(&node, &web).await;
    let sealed = a.authority.seal_replica("b", true, start()).await.unwrap();
    let key = proven(&fresh_key(), &web);
    let refused = b.authority.enrol(&node, &web, &key, after(1)).await;
    assert!(
        matches!(refused, Err(AuthorityError::Unavailable(_))),
        "{refused:?}"
    );
    assert_eq!(sealed.log_id, first.serial.log_id());
    let size = a.authority.store.log_size(sealed.log_id).await.unwrap();
    assert_eq!(size, sealed.size);
    assert!(b.authority.tick(after(1)).await.is_err());
    let told = b.authority.obstacles(after(1)).join("; ");
    assert!(told.contains("b was fenced out"), "{told}");
    assert!(told.contains("another replica.name"), "{told}");
    // Whoever was fenced out fences nobody.
    assert!(b.authority.seal_replica("a", true, after(1)).await.is_err());
    a.enrol(&node, &web).await;
    let verdict = audited(a, &[sealed.log_id]).await;
    assert!(verdict.sound, "{:?}", verdict.flaws);
}

/// A crash left it in the middle: the same command goes on.
#[tokio::test]
async fn seal_that_was_cut_short_goes_on() {
    let two = Two::new().await;
    let Two {
        _database: database,
        a,
        b,
    } = two;
    a.authority.store.fence_out("b").await.unwrap();
    let dir = b.dir.path().join("cp");
    let mut own = settings(&dir);
    own.store = named(&database.url().to_string(), "b");
    let Plane { dir, authority } = b;
    drop(authority);
    // It does not come back between fence and seal.
    let refused = loop {
        match Authority::open(own.clone(), after(1)).await {
            Err(AuthorityError::Denied(denied)) if denied.code == "data_dir_in_use" => {
                tokio::task::yield_now().await;
            }
            refused => break refused,
        }
    };
    assert_eq!(code(refused), "replica_fenced_out");
    drop(dir);
    let sealed = a.authority.seal_replica("b", false, after(SILENT)).await;
    let sealed = sealed.unwrap();
    let verdict = audited(&a, &[sealed.log_id]).await;
    assert!(verdict.sound, "{:?}", verdict.flaws);
}

#[tokio::test]
async fn what_cannot_be_sealed_is_refused() {
    let two = Two::new().await;
    let a = &two.a.authority;
    for (name, refusal) in [("a", "replica_is_this"), ("c", "replica_unknown")] {
        let refused = a.seal_replica(name, true, after(SILENT)).await;
        assert_eq!(code(refused), refusal);
    }
    a.invite_replica("c", 10 * MINUTE, start()).await.unwrap();
    let refused = a.seal_replica("c", true, after(SILENT)).await;
    assert_eq!(code(refused), "replica_not_joined");
    let removed = a.remove_replica("c", false, start()).await.unwrap();
    assert_eq!(removed, RemovedReplica::Withdrawn);
    let refused = a.remove_replica("c", false, start()).await;
    assert_eq!(code(refused), "replica_unknown");
    let removed = a.remove_replica("b", false, after(SILENT)).await.unwrap();
    assert!(matches!(removed, RemovedReplica::Sealed(_)));
}

/// An auditor who is given one log learns of the others.
#[tokio::test]
async fn each_log_names_the_others_once() {
    let two = Two::new().await;
    for second in 1..3 {
        two.a.authority.tick(after(second)).await.unwrap();
        two.b.authority.tick(after(second)).await.unwrap();
    }
    let Two { _database, a, b } = two;
    let (a, b) = (a.restart(after(3)).await, b.restart(after(3)).await);
    let ids = [&a, &b].map(|plane| plane.authority.ledger.log().id());
    for (plane, (name, log_id)) in [(&a, ("b", ids[1])), (&b, ("a", ids[0]))] {
        plane.authority.tick(after(4)).await.unwrap();
        let scan = plane.authority.ledger.log().scan(0);
        let named: Vec<_> = scan
            .filter_map(|noted| match noted.unwrap().what() {
                Some(What::Joined(joined)) => Some((joined.replica.clone(), joined.log_id)),
                _ => None,
            })
            .collect();
        assert_eq!(named, [(name.to_owned(), log_id)]);
    }
}

/// The clock of `b` is two hours ahead: a registration that ends in one hour by the clock of `a` stays, and
/// both say why.
#[tokio::test]
async fn wrong_clock_of_one_replica_ends_nothing() {
    let two = Two::new().await;
    let mut ending = registration("/web", "/node/a");
    ending.expires_at = Some(after(3_600));
    two.a.register(ending).await;
    two.agree().await;
    let (now, ahead) = (after(10), after(7_210));
    two.a.authority.tick(now).await.unwrap();
    two.agree().await;
    two.b.authority.tick(ahead).await.unwrap();
    two.agree().await;
    two.a.authority.tick(after(16)).await.unwrap();
    two.agree().await;
    two.b.authority.tick(after(7_216)).await.unwrap();
    for (plane, now, way) in [
        (&two.a, after(16), "ahead"),
        (&two.b, after(7_216), "behind"),
    ] {
        assert_eq!(plane.authority.registrations().len(), 1);
        let why = plane.authority.clocks_differ(now).unwrap();
        assert!(why.contains(way), "{why}");
    }
    // By a clock that was set forward the other seems to have been silent.
    let sealed = two.a.authority.seal_replica("b", false, after(7_300)).await;
    assert!(
        matches!(sealed, Err(AuthorityError::Unavailable(_))),
        "{sealed:?}"
    );
    // The clock is set right.
    two.b.authority.tick(after(22)).await.unwrap();
    two.agree().await;
    assert_eq!(two.a.authority.clocks_differ(after(22)), None);
}

/// Whichever control plane is asked, a certificate of any log is shown, with those before it.
#[tokio::test]
async fn certificate_of_another_log_is_shown_with_its_history() {
    let two = Two::new().await;
    let (a, b) = (&two.a, &two.b);
    let web = a.register(registration("/web", "/node/a")).await;
    let node = a.attest("/node/a").await;
    let own = a.enrol(&node, &EntitlementId::node()).await;
    let first = a.enrol(&node, &web).await;
    two.shown(b, &own).await;
    two.shown(b, &first).await;
    let chain = own.chain();
    let (_, leaf) = X509Certificate::from_der(&chain[0]).unwrap();
    let spki = Sha256::digest(leaf.public_key().raw);
    let there = b.authority.recognise(&own.node, &spki.into()).unwrap();
    let second = b.enrol(&there, &web).await;
    two.shown(a, &second).await;
    for plane in [a, b] {
        let authority = &plane.authority;
        for svid in [&first, &second] {
            let shown = authority.certificate(&svid.serial.into(), 9).await.unwrap();
            assert_eq!(shown.certificate.serial, svid.serial);
            assert_eq!(shown.der.as_deref(), Some(&*svid.chain()[0]));
            assert!(shown.certificate.sha256.is_some() && !shown.voided);
        }
        let shown = authority
            .certificate(&second.serial.into(), 9)
            .await
            .unwrap();
        let before: Vec<_> = shown.history.iter().map(|it| it.serial).collect();
        assert_eq!(before, [first.serial]);
        // How it begins is enough, where no other one of that log does.
        let begins = second.serial.to_string()[..16].parse().unwrap();
        let shown = authority.certificate(&begins, 0).await.unwrap();
        assert_eq!(shown.certificate.serial, second.serial);
        let unknown = format!("{:06x}ffffffffff{}", second.serial.log_id(), "0".repeat(16));
        let refused = authority.certificate(&unknown.parse().unwrap(), 0).await;
        assert_eq!(code(refused), "not_found");
    }
}
