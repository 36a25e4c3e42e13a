//! The authority: everything that can change, behind one façade.
//!
//! Every write goes through here, is durable in the store before it is seen, and is announced as
//! a [`Change`]. Reads are lock-light snapshots. `now` is passed in everywhere.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use countersign_discovery::Stamp;
use countersign_model::{
    Entitlement, EntitlementId, Lifetime, Registration, RegistrationKey, RenewalWindow, Serial,
    SpiffeId, TrustDomain,
};
use countersign_verify::TrustBundle;
use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use tokio::sync::broadcast;

/// What the authority is configured with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The trust domain, fixed at first start.
    pub trust_domain: TrustDomain,
    /// Where state and keys live.
    pub data_dir: PathBuf,
    /// Lifetime of an X.509-SVID where the registration names none.
    pub x509_ttl: Duration,
    /// When sidecars renew.
    pub renew: RenewalWindow,
    /// Lifetime of a root.
    pub root_ttl: Duration,
    /// Lifetime of an issuing CA.
    pub issuing_ttl: Duration,
}

/// A published X.509-SVID.
#[derive(Clone, Debug)]
pub struct PublishedSvid {
    /// Whose node.
    pub node: SpiffeId,
    /// Which entitlement.
    pub entitlement: EntitlementId,
    /// The identity.
    pub id: SpiffeId,
    /// Its serial, also the version of the resource.
    pub serial: Serial,
    /// Leaf first, root not included.
    pub chain: Vec<CertificateDer<'static>>,
    /// From issue to NotAfter.
    pub lifetime: Lifetime,
}

/// A public key whose holder has proved possession on this session. Made by `attest::key_proof`.
#[derive(Clone, Debug)]
pub struct ProvenKey {
    spki: Vec<u8>,
}

/// A node whose evidence was verified: by a token just now, or by its own node SVID in the
/// handshake of this connection. Made by `attest` alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttestedNode {
    id: SpiffeId,
}

/// What a request asked for and was refused; `code` and `remedy` go to operators, never to an
/// unauthenticated caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Denied {
    /// Stable, `snake_case`.
    pub code: &'static str,
    /// Which rule said no.
    pub message: String,
    /// What mends it.
    pub remedy: &'static str,
}

/// Why a call came to nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorityError {
    /// Policy said no.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The store or a key cannot be used now; retryable.
    #[error("unavailable: {0}")]
    Unavailable(String),
}

/// What changed, so that exactly the streams that see it wake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The entitlements of a node.
    Entitlements(SpiffeId),
    /// A new SVID was published.
    Svid(SpiffeId, EntitlementId),
    /// The trust bundle.
    Bundle,
    /// CA slots changed without the bundle: the server's own SVID should be renewed.
    Authorities,
}

/// The state of one CA key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotState {
    /// Made, not signing yet (a root: in the bundle, waiting for its gate).
    Prepared,
    /// Signing.
    Active,
    /// No longer signing; a root stays in the bundle while something under it lives.
    Retired,
}

/// One CA certificate and where it stands.
#[derive(Clone, Debug)]
pub struct AuthorityInfo {
    /// Subject key identifier, lower-case hex.
    pub key_id: String,
    /// Its subject.
    pub subject: String,
    /// Its serial.
    pub serial: Serial,
    /// Where it stands.
    pub state: SlotState,
    /// NotBefore.
    pub not_before: Timestamp,
    /// NotAfter.
    pub not_after: Timestamp,
    /// The key identifier of its issuer; its own for a root.
    pub issued_by: String,
    /// The certificate.
    pub certificate: CertificateDer<'static>,
}

/// A node that attested once.
#[derive(Clone, Debug)]
pub struct NodeRecord {
    /// Its ID.
    pub id: SpiffeId,
    /// When it attested last.
    pub attested_at: Timestamp,
    /// NotAfter of the newest certificate that it was given, over all its entitlements.
    pub credential_not_after: Timestamp,
}

/// What is asked to be registered; the server adds creation time and entitlement.
#[derive(Clone, Debug)]
pub struct RegistrationRequest {
    /// Everything but `created_at` and `created_seq`, which are ignored.
    pub registration: Registration,
}

/// A removal and how long what was issued stays valid.
#[derive(Clone, Debug)]
pub struct Removed {
    /// What was removed.
    pub registrations: Vec<Registration>,
    /// NotAfter of the newest certificate issued for them.
    pub valid_until: Option<Timestamp>,
}

/// The control plane's own identity: chain and PKCS#8 key.
pub struct ServerIdentity {
    /// Leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// PKCS#8 DER.
    pub key: zeroize::Zeroizing<Vec<u8>>,
    /// When it ends.
    pub lifetime: Lifetime,
}

/// Proof that every live consumer has the bundle that a prepared root is in. Only the gate in
/// `discovery` makes one, so a root cannot be activated around it.
#[derive(Debug)]
pub struct GateOpen {
    bundle_version: String,
}

/// The façade.
#[derive(Debug)]
pub struct Authority {
    settings: Settings,
}

#[allow(clippy::unused_async, reason = "skeleton")]
impl Authority {
    /// Opens `data_dir`: at first start makes root, issuing CA and state; later finds them again
    /// and re-issues nothing.
    ///
    /// # Errors
    /// The directory is locked, unreadable, of another trust domain, or damaged.
    pub async fn open(settings: Settings, now: Timestamp) -> Result<Arc<Self>, AuthorityError> {
        let _ = now;
        Ok(Arc::new(Self { settings }))
    }

    /// The trust domain.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.settings.trust_domain
    }

    /// The state that reads are answered from.
    pub fn stamp(&self) -> Stamp {
        Stamp::default()
    }

    /// Changes from now on. A receiver that lags must read everything again.
    pub fn changes(&self) -> broadcast::Receiver<Change> {
        broadcast::channel(1).1
    }

    /// The trust bundle and its sequence.
    pub fn bundle(&self) -> (Arc<TrustBundle>, u64) {
        panic!("skeleton")
    }

    /// What a node may hold, its own identity included.
    pub fn entitlements(&self, node: &SpiffeId) -> Vec<Arc<Entitlement>> {
        let _ = node;
        Vec::new()
    }

    /// Whether this node was once entitled and no longer is: the tombstone of an entitlement.
    pub fn was_removed(&self, node: &SpiffeId, entitlement: &EntitlementId) -> bool {
        let _ = (node, entitlement);
        false
    }

    /// The newest SVID of an entitlement.
    pub fn published(
        &self,
        node: &SpiffeId,
        entitlement: &EntitlementId,
    ) -> Option<Arc<PublishedSvid>> {
        let _ = (node, entitlement);
        None
    }

    /// Every node that has attested, by ID.
    pub fn nodes(&self) -> Vec<NodeRecord> {
        Vec::new()
    }

    /// How many certificates were logged.
    pub fn issued_total(&self) -> u64 {
        0
    }

    /// Makes a one-time join token.
    ///
    /// # Errors
    /// A foreign or reserved node ID, a TTL out of bounds.
    pub async fn create_token(
        &self,
        node: &SpiffeId,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<(String, Timestamp), AuthorityError> {
        let _ = (node, ttl, now);
        Err(AuthorityError::Unavailable("skeleton".into()))
    }

    /// Burns a join token and says which node it was for. `is_connected` is asked before the
    /// token is burnt: a node whose holder is connected is not attested a second time.
    ///
    /// # Errors
    /// Unknown, used or expired token; a connected holder (an alarm).
    pub async fn attest_join_token(
        &self,
        token: &str,
        is_connected: &(dyn Fn(&SpiffeId) -> bool + Sync),
        now: Timestamp,
    ) -> Result<AttestedNode, AuthorityError> {
        let _ = (token, is_connected, now);
        Err(AuthorityError::Unavailable("skeleton".into()))
    }

    /// A node recognised by its own, unexpired node SVID: `None` for anything else, such as a
    /// workload's SVID.
    pub fn recognise(&self, id: &SpiffeId, spki_sha256: &[u8; 32]) -> Option<AttestedNode> {
        let _ = (id, spki_sha256);
        None
    }

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
        let _ = (node, entitlement, &key.spki, now);
        Err(AuthorityError::Unavailable("skeleton".into()))
    }

    /// Adds a registration or updates the one with the same key; says whether it was there.
    ///
    /// # Errors
    /// The rule that refuses it.
    pub async fn register(
        &self,
        request: RegistrationRequest,
        now: Timestamp,
    ) -> Result<(Registration, bool), AuthorityError> {
        let _ = (request, now);
        Err(AuthorityError::Unavailable("skeleton".into()))
    }

    /// Removes registrations by ID, on one node or on all.
    ///
    /// # Errors
    /// Nothing is registered so.
    pub async fn unregister(
        &self,
        id: &SpiffeId,
        node: Option<&SpiffeId>,
        now: Timestamp,
    ) -> Result<Removed, AuthorityError> {
        let _ = (id, node, now);
        Err(AuthorityError::Unavailable("skeleton".into()))
    }

    /// All registrations, by key.
    pub fn registrations(&self) -> Vec<Registration> {
        let _: Option<RegistrationKey> = None;
        Vec::new()
    }

    /// A fresh identity for the API listener.
    ///
    /// # Errors
    /// The store or the CA is unavailable.
    pub async fn server_identity(&self, now: Timestamp) -> Result<ServerIdentity, AuthorityError> {
        let _ = now;
        Err(AuthorityError::Unavailable("skeleton".into()))
    }

    /// Roots and issuing CAs, newest first.
    pub fn authorities(&self) -> (Vec<AuthorityInfo>, Vec<AuthorityInfo>) {
        (Vec::new(), Vec::new())
    }

    /// Makes a new issuing CA under the active root and activates it: the bundle stays as it is.
    ///
    /// # Errors
    /// The store or a key is unavailable.
    pub async fn rotate_issuing(&self, now: Timestamp) -> Result<AuthorityInfo, AuthorityError> {
        let _ = now;
        Err(AuthorityError::Unavailable("skeleton".into()))
    }

    /// Makes a new root and puts it into the bundle; resumes one that is prepared already.
    ///
    /// # Errors
    /// The store or a key is unavailable.
    pub async fn prepare_root(&self, now: Timestamp) -> Result<AuthorityInfo, AuthorityError> {
        let _ = now;
        Err(AuthorityError::Unavailable("skeleton".into()))
    }

    /// The prepared root, where there is one.
    pub fn prepared_root(&self) -> Option<AuthorityInfo> {
        None
    }

    /// Activates the prepared root: makes a new issuing CA under it, retires the old ones.
    ///
    /// # Errors
    /// The gate was opened for another bundle; the store or a key is unavailable.
    pub async fn activate_root(
        &self,
        gate: GateOpen,
        now: Timestamp,
    ) -> Result<AuthorityInfo, AuthorityError> {
        let _ = (gate.bundle_version, now);
        Err(AuthorityError::Unavailable("skeleton".into()))
    }

    /// What time alone brings: an issuing CA that is due, a retired root that nothing lives under.
    ///
    /// # Errors
    /// The store or a key is unavailable.
    pub async fn tick(&self, now: Timestamp) -> Result<(), AuthorityError> {
        let _ = now;
        Ok(())
    }
}
