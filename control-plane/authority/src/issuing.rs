//! Issuing: the one path from an attested node and a proven key to a published SVID.

mod manual;
mod steps;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use countersign_attest::nodes::NodeKey;
use countersign_ca::authorities::Path;
use countersign_ca::log::Logged;
use countersign_ca::sign::Signed;
use countersign_fleet::Event;
use countersign_issue::PrepareError;
use countersign_issue::issuance::Issuance;
use countersign_issue::profile::Subject;
use countersign_model::{EntitlementId, Lifetime, Seq, SpiffeId};
use countersign_refusal::Denied;
use countersign_registry::rules::ISSUING_LIVES;
use countersign_registry::{Authorized, authorize};
use jiff::Timestamp;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};
use tokio::sync::{Mutex, MutexGuard};
use tracing::info_span;
use zeroize::Zeroizing;

use super::published::Holder;
use super::state::State;
use super::undelivered::Undelivered;
use super::{AttestedNode, Authority, AuthorityError, ProvenKey, PublishedSvid, ServerIdentity};
use crate::series::Phase;

pub use manual::ManualCertificate;
pub(super) use manual::ManualRecords;
pub(super) use steps::{damaged_entry, is_published};

/// Lifetime of the control plane's own SVID, where an issuing CA lives long enough.
const SERVER_TTL: Duration = Duration::from_secs(3_600);
/// How many enrolments may run at a time, at most: one for each stripe.
pub(super) const STRIPES: usize = 1_024;

/// Locks by entitlement, so that one key is never certified twice at a time.
#[derive(Debug)]
pub(super) struct Stripes(Vec<Mutex<()>>);

impl Default for Stripes {
    fn default() -> Self {
        Self((0..STRIPES).map(|_| Mutex::default()).collect())
    }
}

impl Stripes {
    /// Without a node for what is signed by hand.
    pub(super) async fn lock(
        &self,
        node: Option<&SpiffeId>,
        entitlement: &EntitlementId,
    ) -> MutexGuard<'_, ()> {
        let mut hasher = DefaultHasher::new();
        (node, entitlement).hash(&mut hasher);
        let count = self.0.len() as u64;
        let stripe = usize::try_from(hasher.finish() % count).unwrap_or_default();
        self.0[stripe].lock().await
    }
}

impl Authority {
    /// Certifies a key for one entitlement of the node. Idempotent by (entitlement, SPKI).
    ///
    /// # Errors
    /// No such entitlement, an unacceptable key; or the store or the CA is unavailable.
    pub async fn enrol(
        &self,
        node: &AttestedNode,
        entitlement: &EntitlementId,
        key: &ProvenKey,
        now: Timestamp,
    ) -> Result<Arc<PublishedSvid>, AuthorityError> {
        let (node, entitlement, key) = (node.clone(), entitlement.clone(), key.clone());
        // A caller that hangs up in the middle must not leave a claimed key, or an entry of the
        // log that nobody signs, behind.
        self.to_the_end(async move |this| {
            this.enrol_unabandoned(&node, &entitlement, &key, now).await
        })
        .await
    }

    /// As [`enrol`](Self::enrol), for a caller that itself runs to its end whoever hangs up.
    ///
    /// # Errors
    /// As there.
    pub async fn enrol_unabandoned(
        &self,
        node: &AttestedNode,
        entitlement: &EntitlementId,
        key: &ProvenKey,
        now: Timestamp,
    ) -> Result<Arc<PublishedSvid>, AuthorityError> {
        let _one_at_a_time = self.enrolling.lock(Some(node.id()), entitlement).await;
        self.is_current(node)?;
        let authorize = || self.authorize(node, entitlement, key, now);
        let authorized = self.metrics.timed(Phase::Authorize, authorize)?;
        let spki_sha256 = key.spki_sha256();
        let enrolled = self.write().keys.claim(spki_sha256, &authorized, now)?;
        if let Some(index) = enrolled {
            let logged = self.logged_before(index)?;
            // A lineage ends with the next: nobody is answered with what an earlier one was given.
            let is_earlier = self.read().nodes.is_earlier(node.id(), index);
            if !is_earlier && now < logged.issuance().not_after {
                return self.enrolled_before(logged, &authorized, now);
            }
            self.write().keys.renew(spki_sha256, &authorized, now)?;
        }
        let outcome = self.certify(node, authorized, key, now).await;
        if outcome.is_err() {
            self.write().keys.release(&spki_sha256);
        }
        let signed = outcome?;
        let undelivered = Undelivered::of(signed.issuance());
        let published = self.publish(node, signed, now);
        if published.is_err() {
            self.void_undelivered(undelivered, now).await;
        }
        published
    }

    /// A fresh identity for the API listener.
    ///
    /// # Errors
    /// The store or the CA is unavailable.
    pub async fn server_identity(&self, now: Timestamp) -> Result<ServerIdentity, AuthorityError> {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(PrepareError::from)?;
        let ttl = SERVER_TTL.min(self.settings.issuing_ttl / ISSUING_LIVES);
        let subject = Box::new(Subject::server(
            self.trust_domain(),
            ttl,
            &self.settings.times,
        ));
        let spki = pair.subject_public_key_info();
        self.refused_keys.note_server(&spki);
        let signed = self.issue(subject, &spki, |_| Ok(()), now).await?;
        let issuance = signed.issuance();
        let chain = self.presented(&signed);
        match &chain {
            Ok(_) => self.inventory().issued(&signed),
            Err(_) => self.void_undelivered(Undelivered::of(issuance), now).await,
        }
        Ok(ServerIdentity {
            lifetime: Lifetime {
                issued_at: issuance.issued_at,
                not_after: issuance.not_after,
            },
            chain: chain?,
            key: Zeroizing::new(pair.serialize_der()),
        })
    }

    fn authorize(
        &self,
        node: &AttestedNode,
        entitlement: &EntitlementId,
        key: &ProvenKey,
        now: Timestamp,
    ) -> Result<Authorized, Denied> {
        let span = info_span!("authorize", node = %node.id(), entitlement = %entitlement);
        let _entered = span.enter();
        if key.entitlement() != entitlement {
            return Err(Denied {
                code: "key_proof_invalid",
                message: "the key was proved for another entitlement".to_owned(),
                remedy: "sign the proof for the entitlement that is enrolled",
            });
        }
        authorize(&self.read().registry, node, entitlement, now)
    }

    async fn certify(
        &self,
        node: &AttestedNode,
        authorized: Authorized,
        key: &ProvenKey,
        now: Timestamp,
    ) -> Result<Signed, AuthorityError> {
        let newest = authorized.node().and_then(|node| {
            let newest = self.published(node, authorized.entitlement());
            newest.map(|svid| svid.serial.index())
        });
        let entitlement = authorized.entitlement().clone();
        let subject = Box::new(self.subject(authorized).renewing(newest));
        // The registration or the node may have changed while the entry was made durable.
        let stands =
            |issuance: &Issuance| stands(&self.read(), node, &entitlement, issuance, now).map(drop);
        self.issue(subject, key.spki(), stands, now).await
    }

    /// What an authorization allows, and nothing else.
    pub(super) fn subject(&self, authorized: Authorized) -> Subject {
        Subject::svid(authorized, &self.settings.times, self.refused_keys.keys())
    }

    /// The same answer as at the first enrolment of this key.
    fn enrolled_before(
        &self,
        logged: Logged,
        authorized: &Authorized,
        now: Timestamp,
    ) -> Result<Arc<PublishedSvid>, AuthorityError> {
        let signed = self.issued_before(logged, authorized, now)?;
        let above = self.above(&signed)?;
        svid_of(&signed, above, authorized)
    }

    /// The entry of a certificate that a key was given before.
    pub(super) fn logged_before(&self, index: u64) -> Result<Logged, AuthorityError> {
        self.log.read_back(index)?.ok_or_else(|| {
            AuthorityError::Unavailable("an entry is missing from the issuance log".to_owned())
        })
    }

    /// The certificate that a key was given before, where it still says the same.
    pub(super) fn issued_before(
        &self,
        logged: Logged,
        authorized: &Authorized,
        now: Timestamp,
    ) -> Result<Signed, AuthorityError> {
        self.check_clock(now)?;
        let index = logged.issuance().serial.index();
        // The epoch of an entry may be above the present one: a restore took back the change that
        // raised it, and with it what the certificate says.
        let (present, then) = (authorized.key_epoch(), logged.issuance().key_epoch);
        let issuer = &logged.issuance().issuer;
        if then.map_or(index < present, |then| then != present) || self.is_too_early(issuer, now) {
            return Err(AuthorityError::Denied(Denied {
                code: "key_superseded",
                message: "this key was certified before its registration changed".to_owned(),
                remedy: "enrol a fresh key",
            }));
        }
        self.signed_again(logged)
    }

    fn is_current(&self, node: &AttestedNode) -> Result<(), Denied> {
        let is_current = self.read().nodes.is_current(node);
        is_current
            .then_some(())
            .ok_or_else(|| superseded_node(node))
    }

    /// Makes an SVID visible, if the right to it still stands.
    ///
    /// # Errors
    /// The right to it was taken away meanwhile.
    #[expect(clippy::needless_pass_by_value, reason = "a proof is used once")]
    pub fn publish(
        &self,
        node: &AttestedNode,
        signed: Signed,
        now: Timestamp,
    ) -> Result<Arc<PublishedSvid>, AuthorityError> {
        let issuance = signed.issuance();
        let span = info_span!("publish", serial = %issuance.serial);
        let _entered = span.enter();
        let above = self.above(&signed)?;
        let entitlement = EntitlementId::parse(&issuance.entitlement).ok_or_else(damaged_entry)?;
        let svid = {
            let mut state = self.write();
            let right = stands(&state, node, &entitlement, issuance, now)?;
            let svid = svid_of(&signed, above, &right)?;
            state.keys.issued(issuance);
            if svid.entitlement == EntitlementId::node() {
                state.nodes.certified(
                    &svid.node,
                    NodeKey::new(issuance.serial, issuance.spki_sha256),
                );
            }
            state.nodes.credited(&svid.node, svid.lifetime.not_after);
            state.published.offer(svid.clone());
            svid
        };
        self.inventory().issued(&signed);
        let change = Event::Svid(svid.node.clone(), svid.entitlement.clone());
        self.announce(Seq::default(), [change]);
        Ok(svid)
    }
}

/// The SVID that a signed entry is, for whom it was authorized.
fn svid_of(
    signed: &Signed,
    above: Path,
    authorized: &Authorized,
) -> Result<Arc<PublishedSvid>, AuthorityError> {
    let holder = Holder::of(authorized);
    let svid = holder.and_then(|holder| PublishedSvid::of(signed, above, holder));
    svid.map(Arc::new).ok_or_else(damaged_entry)
}

/// The right to a certificate that was authorized before, if it is still its node's.
fn stands(
    state: &State,
    node: &AttestedNode,
    entitlement: &EntitlementId,
    issuance: &Issuance,
    now: Timestamp,
) -> Result<Authorized, Denied> {
    if !state.nodes.is_current(node) {
        return Err(superseded_node(node));
    }
    let right = authorize(&state.registry, node, entitlement, now)?;
    right.still_allows(issuance.key_epoch)?;
    Ok(right)
}

fn superseded_node(node: &AttestedNode) -> Denied {
    Denied {
        code: "node_superseded",
        message: format!(
            "{} has attested anew since this session was opened",
            node.id()
        ),
        remedy: "connect again with the credential of the newest attestation",
    }
}
