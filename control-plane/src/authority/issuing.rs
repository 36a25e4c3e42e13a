//! Issuing: the one path from an attested node and a proven key to a published SVID.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use countersign_model::{EntitlementId, Lifetime, SpiffeId};
use jiff::Timestamp;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};
use rustls_pki_types::CertificateDer;
use tokio::sync::{Mutex, MutexGuard};
use tracing::{Instrument, info_span};
use zeroize::Zeroizing;

use super::state::KeyUse;
use super::{
    AttestedNode, Authority, AuthorityError, Change, Denied, ProvenKey, PublishedSvid,
    ServerIdentity,
};
use crate::ca::log::Log;
use crate::ca::sign::{Signed, sign};
use crate::issue::profile::{Profile, Subject};
use crate::issue::{self, PrepareError};
use crate::registry::rules::ISSUING_LIVES;
use crate::registry::{Authorized, authorize};
use crate::store::IssuanceRow;
use crate::telemetry::{Alarm, Phase};

/// Lifetime of the control plane's own SVID, where an issuing CA lives long enough.
const SERVER_TTL: Duration = Duration::from_secs(3_600);
/// How many enrolments may run at a time, at most: one for each stripe.
const STRIPES: usize = 1_024;

/// Locks by entitlement, so that one key is never certified twice at a time.
#[derive(Debug)]
pub(super) struct Stripes(Vec<Mutex<()>>);

impl Default for Stripes {
    fn default() -> Self {
        Self((0..STRIPES).map(|_| Mutex::default()).collect())
    }
}

impl Stripes {
    async fn lock(&self, node: &SpiffeId, entitlement: &EntitlementId) -> MutexGuard<'_, ()> {
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
        self.to_the_end(async move |this| this.enrol_now(&node, &entitlement, &key, now).await)
            .await
    }

    async fn enrol_now(
        &self,
        node: &AttestedNode,
        entitlement: &EntitlementId,
        key: &ProvenKey,
        now: Timestamp,
    ) -> Result<Arc<PublishedSvid>, AuthorityError> {
        let _one_at_a_time = self.enrolling.lock(node.id(), entitlement).await;
        let authorize = || self.authorize(node, entitlement, key);
        let authorized = self.metrics.timed(Phase::Authorize, authorize)?;
        let spki_sha256 = key.spki_sha256();
        let enrolled = self.write().keys.claim(spki_sha256, &authorized, now)?;
        if let Some(index) = enrolled {
            return self.enrolled_before(index, &authorized).await;
        }
        let outcome = self.certify(&authorized, key, now).await;
        if outcome.is_err() {
            self.write().keys.release(&spki_sha256);
        }
        self.publish(node, outcome?)
    }

    /// A fresh identity for the API listener.
    ///
    /// # Errors
    /// The store or the CA is unavailable.
    pub async fn server_identity(&self, now: Timestamp) -> Result<ServerIdentity, AuthorityError> {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(PrepareError::from)?;
        let ttl = SERVER_TTL.min(self.settings.issuing_ttl / ISSUING_LIVES);
        let subject = Subject::server(self.trust_domain(), ttl);
        let signed = self
            .issue(&subject, &pair.subject_public_key_info(), now)
            .await?;
        let svid = self.chain_of(signed)?;
        Ok(ServerIdentity {
            chain: svid.chain.clone(),
            key: Zeroizing::new(pair.serialize_der()),
            lifetime: svid.lifetime,
        })
    }

    fn authorize(
        &self,
        node: &AttestedNode,
        entitlement: &EntitlementId,
        key: &ProvenKey,
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
        authorize(&self.read().registry, node, entitlement)
    }

    async fn certify(
        &self,
        authorized: &Authorized,
        key: &ProvenKey,
        now: Timestamp,
    ) -> Result<Signed, AuthorityError> {
        let subject = Subject::svid(authorized, self.cas().key_ids());
        self.issue(&subject, key.spki(), now).await
    }

    /// Lint, log, sign: in this order, each with the proof of the one before.
    async fn issue(
        &self,
        subject: &Subject,
        spki: &[u8],
        now: Timestamp,
    ) -> Result<Signed, AuthorityError> {
        let (issuer, key) = self.cas().issuing().ok_or_else(no_issuer)?;
        let slot = self.log.reserve()?;
        let lint = || issue::prepare(subject, spki, slot, &issuer, now);
        let linted = self.metrics.timed(Phase::Lint, lint);
        let linted = linted.inspect_err(|error| self.alarm(error))?;
        let begun = Instant::now();
        let logged = self
            .log
            .append(linted)
            .instrument(info_span!("log"))
            .await?;
        self.metrics.took(Phase::Log, begun.elapsed());
        let sign = || sign(logged, key.as_ref());
        let signed = self.metrics.timed(Phase::Sign, sign)?;
        let certificate = signed.certificate.to_vec();
        self.store.complete(signed.row.index, certificate).await?;
        let mut cas = self.cas.write().unwrap_or_else(PoisonError::into_inner);
        cas.note_leaf(&issuer.key_id, signed.row.not_after);
        Ok(signed)
    }

    fn alarm(&self, error: &PrepareError) {
        if matches!(error, PrepareError::IssuerExpired) {
            self.metrics.alarm(Alarm::IssuerExpired);
            tracing::error!("alarm: the issuing CA has expired");
        }
    }

    /// The same answer as at the first enrolment of this key.
    async fn enrolled_before(
        &self,
        index: u64,
        authorized: &Authorized,
    ) -> Result<Arc<PublishedSvid>, AuthorityError> {
        let row = self.store.issuance(index).await?.ok_or_else(|| {
            AuthorityError::Unavailable("a log entry is missing from the store".to_owned())
        })?;
        if row.seq.0 < authorized.key_epoch() {
            return Err(AuthorityError::Denied(Denied {
                code: "key_superseded",
                message: "this key was certified before its registration changed".to_owned(),
                remedy: "enrol a fresh key",
            }));
        }
        let signed = self.signed_again(row).await?;
        Ok(Arc::new(self.chain_of(signed)?))
    }

    /// The certificate of a log entry; its signature is made again where a crash took it away.
    pub(super) async fn signed_again(&self, row: IssuanceRow) -> Result<Signed, AuthorityError> {
        if let Some(certificate) = row.certificate.clone() {
            let certificate = CertificateDer::from(certificate);
            return Ok(Signed { row, certificate });
        }
        let key = self.cas().key(&row.issuer).ok_or_else(no_issuer)?;
        let signed = sign(Log::read_back(row), key.as_ref())?;
        let certificate = signed.certificate.to_vec();
        self.store.complete(signed.row.index, certificate).await?;
        Ok(signed)
    }

    /// Makes an SVID visible, if the right to it still stands.
    fn publish(
        &self,
        node: &AttestedNode,
        signed: Signed,
    ) -> Result<Arc<PublishedSvid>, AuthorityError> {
        let span = info_span!("publish", serial = %signed.row.serial);
        let _entered = span.enter();
        let (seq, spki_sha256) = (signed.row.seq, signed.row.spki_sha256);
        let svid = Arc::new(self.chain_of(signed)?);
        {
            let mut state = self.write();
            let used = KeyUse {
                node: svid.node.clone(),
                entitlement: svid.entitlement.clone(),
                issued: Some((svid.serial.index(), svid.lifetime.not_after)),
            };
            state.keys.issued(spki_sha256, used);
            authorize(&state.registry, node, &svid.entitlement)?;
            if svid.entitlement == EntitlementId::node() {
                state
                    .nodes
                    .certified(&svid.node, svid.serial.index(), spki_sha256);
            }
            state.nodes.credited(&svid.node, svid.lifetime.not_after);
            state.published.offer(svid.clone());
        }
        let change = Change::Svid(svid.node.clone(), svid.entitlement.clone());
        self.announce(seq, [change]);
        Ok(svid)
    }

    /// The SVID that a signed entry is, with the chain below the root.
    pub(super) fn chain_of(&self, signed: Signed) -> Result<PublishedSvid, AuthorityError> {
        let row = signed.row;
        let damaged = || AuthorityError::Unavailable("a log entry is damaged".to_owned());
        let parse = |text: &str| SpiffeId::new(text).map_err(|_| damaged());
        let issuing = self.cas().certificate(&row.issuer).ok_or_else(no_issuer)?;
        let entitlement = if row.profile == Profile::Svid.as_str() {
            EntitlementId::parse(&row.entitlement).ok_or_else(damaged)?
        } else {
            EntitlementId::node()
        };
        Ok(PublishedSvid {
            node: parse(&row.node)?,
            entitlement,
            id: parse(&row.spiffe_id)?,
            serial: row.serial,
            chain: vec![signed.certificate, issuing],
            lifetime: Lifetime {
                issued_at: row.issued_at,
                not_after: row.not_after,
            },
        })
    }
}

fn no_issuer() -> AuthorityError {
    AuthorityError::Unavailable("the issuing CA is not there".to_owned())
}
