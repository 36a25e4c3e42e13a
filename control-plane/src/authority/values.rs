//! What the authority is told and what it answers with.

use std::path::PathBuf;
use std::time::Duration;

use countersign_model::{
    EntitlementId, Lifetime, Registration, RenewalWindow, Serial, SpiffeId, TrustDomain,
};
use jiff::Timestamp;
use rustls_pki_types::CertificateDer;

use crate::ca::slots::SlotState;

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
    /// One entitlement of a node: new, changed or taken away.
    Entitlement(SpiffeId, EntitlementId),
    /// A new SVID was published.
    Svid(SpiffeId, EntitlementId),
    /// The trust bundle.
    Bundle,
    /// CA slots changed without the bundle: the server's own SVID should be renewed.
    Authorities,
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
    pub(super) bundle_version: String,
}

impl GateOpen {
    /// Every live consumer has the bundle of this version, has expired, was evicted or holds a
    /// waiver. For the gate in `discovery`, and for nothing else.
    pub(crate) fn after_every_acknowledgement(bundle_version: &str) -> Self {
        Self {
            bundle_version: bundle_version.to_owned(),
        }
    }
}
