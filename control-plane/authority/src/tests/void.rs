//! Certificates that are in the log and that nobody was given.

use countersign_attest::nodes::StoredNode;
use countersign_ca::key::KeyError;
use countersign_issue::issuance::Issuance;
use countersign_issue::request::Requested;
use countersign_model::Seq;
use countersign_proto::log::Refused;
use countersign_proto::log::entry::What;
use countersign_refusal::Denied;
use countersign_registry::{Kept, authorize};
use countersign_store::{Kind, Write};
use futures_util::FutureExt as _;
use rcgen::CertificateParams;
use serde_json::json;

use super::super::ManualCertificate;
use super::log::{everything, told};
use super::signing::{certified, watched};
use super::*;

/// Runs a call until its entry waits for the disk, then `meanwhile`, then the call to its end.
async fn interrupted<T>(call: impl Future<Output = T>, meanwhile: impl FnOnce()) -> T {
    let mut call = std::pin::pin!(call);
    assert!(call.as_mut().now_or_never().is_none(), "the disk was first");
    meanwhile();
    call.await
}

/// The registration of the workload changes, as far as memory knows.
fn change(authority: &Authority, mut registration: Registration) {
    registration.dns = vec!["web.local".to_owned()];
    let kept = Kept {
        registration,
        key_epoch: authority.state.sequence() + 1,
        raised_at: None,
        began: None,
    };
    authority.state.write().registry.insert(kept);
}

fn serial(plane: &Plane, index: u64) -> countersign_model::Serial {
    let entry = plane
        .authority
        .ledger
        .log()
        .read_back(index)
        .unwrap()
        .unwrap();
    entry.issuance().serial
}

struct Scene {
    plane: Plane,
    node: AttestedNode,
    web: EntitlementId,
    pair: KeyPair,
    /// Where the void certificate is.
    index: u64,
}

impl Scene {
    /// An enrolment whose registration changes under way.
    async fn new() -> Self {
        let plane = Plane::new().await;
        let web = plane.register(registration("/web", "/node/a")).await;
        let node = plane.attest("/node/a").await;
        let (pair, index) = (fresh_key(), plane.authority.ledger.log().size());
        let scene = Self {
            plane,
            node,
            web,
            pair,
            index,
        };
        let authority = &scene.plane.authority;
        let (key, web) = (proven(&scene.pair, &scene.web), &scene.web);
        let enrol = authority.enrol_unabandoned(&scene.node, web, &key, start());
        let change = || change(authority, registration("/web", "/node/a"));
        assert_eq!(code(interrupted(enrol, change).await), "key_superseded");
        scene
    }

    async fn enrol(
        &self,
        entitlement: &EntitlementId,
    ) -> Result<Arc<PublishedSvid>, AuthorityError> {
        let key = proven(&self.pair, entitlement);
        let authority = &self.plane.authority;
        authority
            .enrol(&self.node, entitlement, &key, after(1))
            .await
    }

    /// Stores the change that memory knows of, as a real one was before memory knew.
    async fn store_change(&self) {
        let authority = &self.plane.authority;
        let key = registration("/web", "/node/a").key;
        let kept = authority
            .state
            .read()
            .registry
            .of_key(&key)
            .cloned()
            .unwrap();
        let write = Write::put(Kind::Registration, self.web.as_str(), &kept);
        let stored = authority.store.commit(vec![write], Vec::new()).await;
        stored.unwrap();
    }

    async fn crash(self) -> Self {
        let plane = self.plane.crash(after(1)).await;
        Self { plane, ..self }
    }
}

fn svids(plane: &Plane) -> usize {
    let all = everything(plane).into_iter();
    all.filter(|it| it.contains("profile: Svid")).count()
}

#[tokio::test]
async fn right_that_ends_under_way_leaves_no_certificate() {
    let scene = Scene::new().await;
    let plane = &scene.plane;
    let index = scene.index;
    assert_eq!(
        told(plane, index),
        ["issued x509-svid".to_owned(), format!("voided {index}")]
    );
    let signature = plane.authority.ledger.log().signature(index).unwrap();
    assert_eq!(signature, None, "it was never signed");
    assert!(plane.authority.ledger.unvoided().is_empty());
    assert_eq!(svids(plane), 0);
    let scene = scene.crash().await;
    let plane = &scene.plane;
    assert_eq!(svids(plane), 0);
    let published = plane.authority.published(scene.node.id(), &scene.web);
    assert!(published.is_none());
}

#[tokio::test]
async fn void_certificate_frees_its_key_for_the_same_identity() {
    let scene = Scene::new().await;
    let svid = scene.enrol(&scene.web).await.unwrap();
    assert!(svid.serial.index() > scene.index);
    let again = scene.enrol(&scene.web).await.unwrap();
    assert_eq!(again.serial, svid.serial);
    scene.store_change().await;
    let scene = scene.crash().await;
    let again = scene.enrol(&scene.web).await.unwrap();
    assert_eq!(again.serial, svid.serial);

    let scene = Scene::new().await.crash().await;
    let svid = scene.enrol(&scene.web).await.unwrap();
    assert!(svid.serial.index() > scene.index, "after a restart");
    certificates::verify(&scene.plane, &svid.chain(), after(2));
}

#[tokio::test]
async fn void_certificate_keeps_its_key_from_others() {
    let scene = Scene::new().await;
    let own = EntitlementId::node();
    assert_eq!(code(scene.enrol(&own).await), "key_in_use");
    let scene = scene.crash().await;
    assert_eq!(code(scene.enrol(&own).await), "key_in_use");
    let plane = scene.plane.restart(after(2)).await;
    let scene = Scene { plane, ..scene };
    assert_eq!(code(scene.enrol(&own).await), "key_in_use");
    let key = proven(&scene.pair, &own);
    let authority = &scene.plane.authority;
    let later = authority.enrol(&scene.node, &own, &key, after(3_601));
    later.await.unwrap();
}

#[tokio::test]
async fn node_that_attests_under_way_gets_nothing_old() {
    let plane = Plane::new().await;
    let node = plane.attest("/node/a").await;
    let (own, from) = (EntitlementId::node(), plane.authority.ledger.log().size());
    let key = proven(&fresh_key(), &own);
    let enrol = plane
        .authority
        .enrol_unabandoned(&node, &own, &key, start());
    let stored = json!({"attested_at": start()});
    let attested: StoredNode = serde_json::from_value(stored).unwrap();
    let attest = || {
        let mut state = plane.authority.state.write();
        state.nodes.written(node.id(), attested, Seq(u64::MAX));
    };
    assert_eq!(code(interrupted(enrol, attest).await), "node_superseded");
    assert_eq!(told(&plane, from)[1], format!("voided {from}"));
}

#[tokio::test]
async fn right_that_ends_while_the_key_signs_is_void_too() {
    let dir = Dir::new();
    let (authority, witness) = watched(dir.path()).await;
    let plane = Plane { dir, authority };
    let web = plane.register(registration("/web", "/node/a")).await;
    let node = plane.attest("/node/a").await;
    let (from, key) = (
        plane.authority.ledger.log().size(),
        proven(&fresh_key(), &web),
    );
    let authority = Arc::downgrade(&plane.authority);
    witness.meanwhile(move || {
        let authority = authority.upgrade().unwrap();
        change(&authority, registration("/web", "/node/a"));
        Ok(())
    });
    let refused = plane.authority.enrol(&node, &web, &key, start()).await;
    assert_eq!(code(refused), "key_superseded");
    assert_eq!(told(&plane, from)[1..], [format!("voided {from}")]);
    assert_eq!(svids(&plane), 0);
    let shown = plane
        .authority
        .certificate(&serial(&plane, from).into(), 0)
        .await;
    let shown = shown.unwrap();
    assert!(shown.voided && shown.der.is_none() && shown.lineage.is_none());
    let plane = plane.crash(after(1)).await;
    assert_eq!(svids(&plane), 0);
    let shown = plane
        .authority
        .certificate(&serial(&plane, from).into(), 0)
        .await;
    assert!(shown.unwrap().voided);
    let svid = plane.authority.enrol(&node, &web, &key, after(1)).await;
    let shown = plane
        .authority
        .certificate(&svid.unwrap().serial.into(), 0)
        .await;
    assert!(!shown.unwrap().voided);
}

#[tokio::test]
async fn certificate_that_no_key_signs_is_void() {
    let dir = Dir::new();
    let (authority, witness) = watched(dir.path()).await;
    let plane = Plane { dir, authority };
    let node = plane.attest("/node/a").await;
    let (own, from) = (EntitlementId::node(), plane.authority.ledger.log().size());
    let key = proven(&fresh_key(), &own);
    witness.meanwhile(|| Err(KeyError::Gone("pulled out".to_owned())));
    let refused = plane.authority.enrol(&node, &own, &key, start()).await;
    assert!(matches!(refused, Err(AuthorityError::Unavailable(_))));
    assert_eq!(told(&plane, from)[1..], [format!("voided {from}")]);
    let svid = plane.authority.enrol(&node, &own, &key, start()).await;
    assert_eq!(svid.unwrap().serial.index(), from + 2);
    assert!(witness.signatures() > 0);
}

#[tokio::test]
async fn void_that_the_log_does_not_take_is_void_at_once() {
    let plane = Plane::new().await;
    let web = plane.register(registration("/web", "/node/a")).await;
    let node = plane.attest("/node/a").await;
    let obstacle = faults::fill_segment_but(&plane, 1).await;
    let (from, key) = (
        plane.authority.ledger.log().size(),
        proven(&fresh_key(), &web),
    );
    let enrol = plane
        .authority
        .enrol_unabandoned(&node, &web, &key, start());
    let change = || change(&plane.authority, registration("/web", "/node/a"));
    assert_eq!(code(interrupted(enrol, change).await), "key_superseded");
    assert_eq!(told(&plane, from).len(), 1, "the log takes nothing");
    assert_eq!(plane.authority.ledger.unvoided(), [from].into());
    assert_eq!(svids(&plane), 0);
    let shown = plane
        .authority
        .certificate(&serial(&plane, from).into(), 0)
        .await;
    assert!(shown.unwrap().voided);
    plane.authority.tick(after(1)).await.unwrap_err();
    drop(obstacle);
    plane.authority.tick(after(1)).await.unwrap();
    assert_eq!(told(&plane, from)[1..], [format!("voided {from}")]);
    assert!(plane.authority.ledger.unvoided().is_empty());
}

/// Its key is certified once more, and keeps the certificate that it has: there is another claim to
/// give up than that of a fresh key.
#[tokio::test]
async fn key_of_an_earlier_lineage_is_given_up_as_well() {
    for is_logged in [true, false] {
        let plane = Plane::new().await;
        let authority = &plane.authority;
        let web = plane.register(registration("/web", "/node/a")).await;
        let pair = fresh_key();
        let earlier = plane.attest("/node/a").await;
        let enrol = async |node: &AttestedNode, entitlement: &EntitlementId, now| {
            let key = proven(&pair, entitlement);
            authority.enrol(node, entitlement, &key, now).await
        };
        enrol(&earlier, &web, start()).await.unwrap();

        let node = plane.attest("/node/a").await;
        let refused = if is_logged {
            let change = || change(authority, registration("/web", "/node/a"));
            let key = proven(&pair, &web);
            let enrol = authority.enrol_unabandoned(&node, &web, &key, start());
            interrupted(enrol, change).await
        } else {
            let _full = faults::fill_segment_but(&plane, 0).await;
            enrol(&node, &web, start()).await
        };
        refused.unwrap_err();
        assert!(
            !authority.state.read().keys.is_issuing(),
            "nothing is under way"
        );
        let own = EntitlementId::node();
        assert_eq!(code(enrol(&node, &own, after(1)).await), "key_in_use");
        // Nobody has it once the certificates of both lineages have ended.
        enrol(&node, &own, after(3_601)).await.unwrap();
    }
}

fn request(pair: &KeyPair) -> Requested {
    let params = CertificateParams::default();
    Requested::read(params.serialize_request(pair).unwrap().der()).unwrap()
}

async fn sign(plane: &Plane, pair: &KeyPair) -> Result<ManualCertificate, AuthorityError> {
    let authority = &plane.authority;
    authority
        .sign_manually(&id("/plc"), request(pair), after(1))
        .await
}

#[tokio::test]
async fn by_hand_right_that_ends_under_way_leaves_no_certificate() {
    let plane = Plane::new().await;
    let mut plc = registration("/plc", "/node/a");
    plc.key = RegistrationKey::manual(id("/plc"));
    plane.register(plc.clone()).await;
    let (pair, from) = (fresh_key(), plane.authority.ledger.log().size());
    let (workload, requested) = (id("/plc"), request(&pair));
    let signing = plane
        .authority
        .sign_manually_unabandoned(&workload, &requested, start());
    let remove = || {
        let mut state = plane.authority.state.write();
        state.registry.remove(&plc.key.entitlement_id());
    };
    assert_eq!(code(interrupted(signing, remove).await), "not_by_hand");
    assert_eq!(told(&plane, from)[1..], [format!("voided {from}")]);
    assert_eq!(plane.authority.ledger.log().signature(from).unwrap(), None);
    let removed = |plane: &Plane| {
        let state = plane.authority.state.read();
        state.manual.last_end(&plc.key.entitlement_id())
    };
    assert_eq!(removed(&plane), None, "nothing outlives a removal");
    let plane = plane.crash(after(1)).await;
    assert_eq!((removed(&plane), svids(&plane)), (None, 0));
    let signed = sign(&plane, &pair).await.unwrap();
    assert_eq!(signed.serial.index(), from + 2);
}

#[tokio::test]
async fn by_hand_right_that_ends_while_the_key_signs_is_void_too() {
    let dir = Dir::new();
    let (authority, witness) = watched(dir.path()).await;
    let plane = Plane { dir, authority };
    let mut plc = registration("/plc", "/node/a");
    plc.key = RegistrationKey::manual(id("/plc"));
    plane.register(plc.clone()).await;
    let (pair, from) = (fresh_key(), plane.authority.ledger.log().size());
    let (authority, key) = (Arc::downgrade(&plane.authority), plc.key);
    witness.meanwhile(move || {
        let authority = authority.upgrade().unwrap();
        authority
            .state
            .write()
            .registry
            .remove(&key.entitlement_id());
        Ok(())
    });
    assert_eq!(code(sign(&plane, &pair).await), "not_by_hand");
    assert_eq!(told(&plane, from)[1..], [format!("voided {from}")]);
    assert_eq!(svids(&plane), 0);
    let plane = plane.crash(after(1)).await;
    let signed = sign(&plane, &pair).await.unwrap();
    assert_eq!(signed.serial.index(), from + 2);
}

#[tokio::test]
async fn lost_void_brings_no_old_names_back() {
    let plane = Plane::new().await;
    let mut wanted = registration("/web", "/node/a");
    wanted.dns = vec!["old.local".to_owned()];
    let web = plane.register(wanted.clone()).await;
    let node = plane.attest("/node/a").await;
    let own = plane.enrol(&node, &EntitlementId::node()).await;
    let authority = &plane.authority;
    let authorized = authorize(&authority.state.read().registry, &node, &web, start()).unwrap();
    wanted.dns = vec!["new.local".to_owned()];
    plane.register(wanted).await;
    let obstacle = faults::fill_segment_but(&plane, 1).await;
    let (from, pair) = (authority.ledger.log().size(), fresh_key());
    let (subject, key) = (authority.subject(authorized), proven(&pair, &web));
    let ended = |_: &Issuance| {
        Err(Denied {
            code: "key_superseded",
            message: String::new(),
            remedy: "",
        })
    };
    let refused = certified(authority, subject, key.spki(), ended).await;
    assert_eq!(code(refused.map(drop)), "key_superseded");
    assert_eq!(told(&plane, from), ["issued x509-svid"], "no void");
    drop(obstacle);
    let plane = plane.crash(after(1)).await;
    assert!(plane.authority.published(node.id(), &web).is_none());
    let refused = plane.authority.enrol(&node, &web, &key, after(1)).await;
    assert_eq!(code(refused), "key_superseded");
    let svid = plane.enrol(&node, &web).await;
    assert!(svid.serial.index() > from);
    let found = plane.authority.published(node.id(), &EntitlementId::node());
    assert_eq!(found.unwrap().serial, own.serial, "what stands comes back");
}

#[tokio::test]
async fn voids_that_wait_stop_certificates_at_their_bound() {
    let plane = Plane::new().await;
    let (node, own) = (plane.attest("/node/a").await, EntitlementId::node());
    let (authority, key) = (&plane.authority, proven(&fresh_key(), &own));
    let void = authority
        .ledger
        .log()
        .note(start(), What::Refused(Refused::default()));
    let (void, from) = (void.await.unwrap(), authority.ledger.log().size());
    authority.ledger.void_at_most(1);
    authority.ledger.must_void(void);
    let refused = authority.enrol(&node, &own, &key, start()).await;
    assert!(matches!(refused, Err(AuthorityError::Unavailable(_))));
    authority.check_room(node.id()).unwrap_err();
    assert_eq!(authority.ledger.log().size(), from, "nothing was logged");
    authority.tick(start()).await.unwrap();
    assert_eq!(told(&plane, from), [format!("voided {void}")]);
    authority.enrol(&node, &own, &key, start()).await.unwrap();
}
