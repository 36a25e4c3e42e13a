//! Issuances that do not come to their end: dropped by their callers, or by a step that panics.

use std::pin::pin;

use countersign_ca::log::Said;
use countersign_issue::request::Requested;
use countersign_model::Coordinate;
use countersign_registry::Kept;
use futures_util::FutureExt as _;
use proptest::prelude::*;
use rcgen::CertificateParams;
use tokio::task::yield_now;

use super::log::told;
use super::manual::{manual, sign};
use super::signing::watched;
use super::*;

/// Longest wait for a step that goes on by itself.
const SETTLED: Duration = Duration::from_secs(30);

/// Waits until no key is claimed.
async fn settled(authority: &Authority) {
    let nothing_is_claimed = async {
        while authority.state.read().keys.is_issuing() {
            yield_now().await;
        }
    };
    tokio::time::timeout(SETTLED, nothing_is_claimed)
        .await
        .expect("a key stays claimed");
}

#[tokio::test]
async fn enrolment_dropped_while_its_entry_is_written_is_void() {
    let plane = Plane::new().await;
    let (authority, own) = (&plane.authority, EntitlementId::node());
    let web = plane.register(registration("/web", "/node/a")).await;
    let node = plane.attest("/node/a").await;
    let (pair, from) = (fresh_key(), authority.ledger.log().size());
    let key = proven(&pair, &web);
    {
        let mut enrol = pin!(authority.enrol_unabandoned(&node, &web, &key, start()));
        assert!(enrol.as_mut().now_or_never().is_none(), "its entry waits");
        assert!(authority.state.read().keys.is_issuing());
    }
    settled(authority).await;
    assert_eq!(told(&plane, from), ["issued x509-svid"]);
    assert_eq!(authority.ledger.unvoided(), [from].into());
    assert!(authority.published(node.id(), &web).is_none());
    let stolen = proven(&pair, &own);
    let taken = authority.enrol(&node, &own, &stolen, start()).await;
    assert_eq!(code(taken), "key_in_use");
    authority.tick(start()).await.unwrap();
    assert_eq!(told(&plane, from)[1..], [format!("voided {from}")]);
    let svid = authority.enrol(&node, &web, &key, start()).await.unwrap();
    assert_eq!(svid.serial.index(), from + 2);
}

#[tokio::test]
async fn dropped_enrolment_lets_no_other_claim_its_key_meanwhile() {
    let plane = Plane::new().await;
    let (authority, own) = (&plane.authority, EntitlementId::node());
    let node = plane.attest("/node/a").await;
    let (key, from) = (proven(&fresh_key(), &own), authority.ledger.log().size());
    {
        let mut enrol = pin!(authority.enrol_unabandoned(&node, &own, &key, start()));
        assert!(enrol.as_mut().now_or_never().is_none(), "its entry waits");
    }
    let again = authority.enrol_unabandoned(&node, &own, &key, start());
    assert_eq!(again.await.unwrap().serial.index(), from + 1);
    assert!(!authority.state.read().keys.is_issuing());
    let entry = Coordinate::new(authority.ledger.log().id(), from).unwrap();
    assert!(authority.is_void(entry));
}

/// The claim is dropped by what unwinds, for both callers.
#[tokio::test]
async fn panic_while_the_key_signs_voids_the_certificate() {
    let dir = Dir::new();
    let (authority, witness) = watched(dir.path()).await;
    let plane = Plane { dir, authority };
    let (authority, own) = (&plane.authority, EntitlementId::node());
    plane.register(manual("/plc")).await;
    let node = plane.attest("/node/a").await;
    let (key, request) = (proven(&fresh_key(), &own), fresh_key());
    for is_manual in [false, true] {
        let from = authority.ledger.log().size();
        let issue = async || {
            let enrolled = authority.enrol(&node, &own, &key, start());
            match is_manual {
                true => sign(&plane, "/plc", &request, 0).await.map(|it| it.serial),
                false => enrolled.await.map(|svid| svid.serial),
            }
        };
        witness.meanwhile(|| panic!("planted"));
        let refused = issue().await;
        assert!(matches!(refused, Err(AuthorityError::Unavailable(_))));
        assert!(!authority.state.read().keys.is_issuing());
        assert_eq!(authority.ledger.unvoided(), [from].into());
        authority.tick(start()).await.unwrap();
        assert_eq!(told(&plane, from)[1..], [format!("voided {from}")]);
        assert_eq!(issue().await.unwrap().index(), from + 2);
    }
}

/// How often an issuance is polled before it is dropped, at most: some get to their end.
const POLLS: u8 = 40;

/// One issuance of a run.
#[derive(Clone, Copy, Debug)]
struct Attempt {
    /// Which of the identities, and which of the keys.
    identity: usize,
    key: usize,
    polls: u8,
    /// Whether its registration changes under way.
    right_ends: bool,
}

fn attempts() -> impl Strategy<Value = Vec<Attempt>> {
    let parts = (0..3_usize, 0..3_usize, 0..POLLS, any::<bool>());
    let attempt = parts.prop_map(|(identity, key, polls, right_ends)| Attempt {
        identity,
        key,
        polls,
        right_ends,
    });
    proptest::collection::vec(attempt, 1..16)
}

/// Two identities of a node, one that is signed for an operator, and three keys.
struct Run {
    plane: Plane,
    node: AttestedNode,
    registrations: [Registration; 3],
    keys: [KeyPair; 3],
}

impl Run {
    async fn new() -> Self {
        let plane = Plane::new().await;
        let (web, pay) = (
            registration("/web", "/node/a"),
            registration("/pay", "/node/a"),
        );
        let registrations = [web, pay, manual("/plc")];
        for registration in &registrations {
            plane.register(registration.clone()).await;
        }
        let node = plane.attest("/node/a").await;
        Self {
            plane,
            node,
            registrations,
            keys: std::array::from_fn(|_| fresh_key()),
        }
    }

    async fn issue(&self, attempt: Attempt) -> Result<(), AuthorityError> {
        let (authority, key) = (&self.plane.authority, &self.keys[attempt.key]);
        let registration = &self.registrations[attempt.identity].key;
        if registration.node().is_some() {
            let entitlement = registration.entitlement_id();
            let key = proven(key, &entitlement);
            let enrol = authority.enrol_unabandoned(&self.node, &entitlement, &key, start());
            return enrol.await.map(drop);
        }
        let request = CertificateParams::default().serialize_request(key).unwrap();
        let request = Requested::read(request.der()).unwrap();
        let signing = authority.sign_manually_unabandoned(&registration.id, &request, start());
        signing.await.map(drop)
    }

    /// Runs an issuance for some polls and drops it.
    async fn attempt(&self, attempt: Attempt) {
        let mut issue = pin!(self.issue(attempt));
        for poll in 0..attempt.polls {
            if issue.as_mut().now_or_never().is_some() {
                return;
            }
            if poll == 0 && attempt.right_ends {
                self.change(attempt.identity);
            }
            yield_now().await;
        }
    }

    /// The registration changes, as far as memory knows.
    fn change(&self, identity: usize) {
        let authority = &self.plane.authority;
        let kept = Kept {
            registration: self.registrations[identity].clone(),
            key_epoch: authority.ledger.log().size() + 1_000,
            raised_at: None,
            began: None,
        };
        authority.state.write().registry.insert(kept);
    }

    /// Every certificate was given or is void, and no key is named for two identities.
    fn check(&self) {
        let authority = &self.plane.authority;
        let (mut issued, mut void) = (0, 0);
        let mut holders = BTreeMap::new();
        for noted in authority.ledger.log().scan(0) {
            let Said::Issued(logged) = noted.unwrap().said().unwrap() else {
                continue;
            };
            let issuance = logged.issuance();
            issued += 1;
            void += u64::from(authority.is_void(issuance.serial.coordinate()));
            let holder = (issuance.node.clone(), issuance.entitlement.clone());
            let known = holders.entry(issuance.spki_sha256);
            assert_eq!(*known.or_insert_with(|| holder.clone()), holder);
        }
        assert_eq!(authority.issued_total(), issued - void);
        let [counted, found] = authority.state.read().keys.shares();
        assert_eq!(counted, found);
    }

    /// The indexes that the log voids.
    fn voided(&self) -> usize {
        let told = told(&self.plane, 0).into_iter();
        told.filter(|it| it.starts_with("voided")).count()
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 24,
        // Each opens a control plane.
        max_shrink_iters: 8,
        ..ProptestConfig::default()
    })]

    #[test]
    fn issuance_dropped_anywhere_leaves_nothing_half_done(attempts in attempts()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(async {
            let mut run = Run::new().await;
            for attempt in attempts {
                run.attempt(attempt).await;
                settled(&run.plane.authority).await;
                run.check();
            }
            run.plane.authority.tick(start()).await.unwrap();
            assert!(run.plane.authority.ledger.unvoided().is_empty());
            run.check();
            let (issued, voided) = (run.plane.authority.issued_total(), run.voided());
            run.plane = run.plane.restart(start()).await;
            assert_eq!(run.plane.authority.issued_total(), issued);
            assert_eq!(run.voided(), voided, "nothing was left to the start");
        });
    }
}
