//! What the authority is told and what it answers with.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use countersign_ca::authorities::CaRecord;
use countersign_ca::key::StoreKind;
use countersign_ca::slots::SlotState;
use countersign_issue::profile::ProfileTimes;
use countersign_keys::Pkcs11Settings;
use countersign_model::entropy::Entropy;
use countersign_model::{Lifetime, Registration, RenewalWindow, TrustDomain};
use countersign_refusal::{Denied, Unavailable};
use countersign_registry::{Mode, Policy, Written};
use countersign_store::postgres::Address;
use jiff::Timestamp;
use rustls_pki_types::CertificateDer;

use super::log_keeping::Retention;
use super::replicas::Invitation;

/// What the authority is configured with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The trust domain, fixed at first start.
    pub trust_domain: TrustDomain,
    /// Where random bytes come from.
    pub entropy: Arc<dyn Entropy>,
    /// Where the log and keys live, and the state where no database is named.
    pub data_dir: PathBuf,
    /// The database of the state.
    pub store: StoreSettings,
    /// Where sidecars reach this control plane, where they shall be told.
    pub advertise: Option<String>,
    /// Lifetime of an X.509-SVID where the registration names none.
    pub x509_ttl: Duration,
    /// When sidecars renew.
    pub renew: RenewalWindow,
    /// Lifetime of a root.
    pub root_ttl: Duration,
    /// Lifetime of an issuing CA.
    pub issuing_ttl: Duration,
    /// Which CAs there are, and where their keys live.
    pub hierarchy: Hierarchy,
    /// How long the bodies of log entries are kept.
    pub retention: Retention,
    /// Which parent may hand out what.
    pub policy: Policy,
    /// What binds the lifetimes of every profile.
    pub times: ProfileTimes,
    /// A file with keys that are never certified.
    pub blocked_keys: Option<PathBuf>,
}

impl Settings {
    /// The name of this control plane among those that share its database; empty where it is alone.
    pub fn replica(&self) -> &str {
        match &self.store {
            StoreSettings::Sqlite => "",
            StoreSettings::Postgres { replica, .. } => replica,
        }
    }
}

/// The database that keeps the state.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "a process has one")]
pub enum StoreSettings {
    /// SQLite, in the data directory.
    Sqlite,
    /// PostgreSQL, which others may share.
    Postgres {
        /// Where it is.
        address: Address,
        /// The name of this control plane among them.
        replica: String,
        /// What it joins them with, where it has not yet.
        invitation: Option<Invitation>,
    },
}

/// Which tiers of CAs there are, and where each keeps its keys.
#[derive(Clone, Debug)]
pub struct Hierarchy {
    /// Where a root is made; `None`: the root is offline or another's, and its key never here.
    pub root: Option<StoreKind>,
    /// Where an intermediate's key is made, and how long one lives that we sign; `None`: no such
    /// tier. Under a root that is not ours there is always one.
    pub intermediate: Option<(StoreKind, Duration)>,
    /// Where an issuing CA's key is made.
    pub issuing: StoreKind,
    /// The token, where one is used.
    pub pkcs11: Option<Pkcs11Settings>,
}

impl Default for Hierarchy {
    /// Root and issuing CA, both on disk.
    fn default() -> Self {
        Self {
            root: Some(StoreKind::Disk),
            intermediate: None,
            issuing: StoreKind::Disk,
            pkcs11: None,
        }
    }
}

/// Why a call came to nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorityError {
    /// Policy said no.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// As many keys are certified as are remembered at once; retryable.
    #[error("{most} keys are certified now: no more are taken until certificates end")]
    TooManyKeys {
        /// The bound.
        most: usize,
    },
    /// One holder has as many certified keys as one may have at once; retryable, and nobody else
    /// is affected.
    #[error(
        "{most} keys of this entitlement are certified now, which is its share: no more of it are \
         taken until certificates end"
    )]
    KeyShareTaken {
        /// The share.
        most: u32,
    },
    /// Another control plane changed the state while this was judged; retryable.
    #[error("another control plane changed the state at this moment: nothing was done")]
    Overtaken,
    /// It cannot be done now, though no rule refuses it.
    #[error("unavailable: {0}")]
    Unavailable(#[from] Unavailable),
}

/// One CA certificate and where it stands.
#[derive(Clone, Debug)]
pub struct AuthorityInfo {
    /// Subject key identifier, lower-case hex.
    pub key_id: String,
    /// Its subject.
    pub subject: String,
    /// Its serial, lower-case hex.
    pub serial: String,
    /// Where it stands.
    pub state: SlotState,
    /// Which replica's issuing CA it is; empty for a root and an intermediate, and where there are no
    /// replicas.
    pub replica: String,
    /// Where its key is; `None` for a root that is not ours.
    pub store: Option<StoreKind>,
    /// When an operator should bring a successor; `None` where we make it ourselves.
    pub renew_by: Option<Timestamp>,
    /// NotBefore.
    pub not_before: Timestamp,
    /// NotAfter.
    pub not_after: Timestamp,
    /// The key identifier of its issuer; its own for a root.
    pub issued_by: String,
    /// The certificate.
    pub certificate: CertificateDer<'static>,
}

impl AuthorityInfo {
    pub(super) fn of(record: &CaRecord, state: SlotState) -> Self {
        Self {
            key_id: record.key_id.clone(),
            subject: record.subject(),
            serial: record.serial.clone(),
            state,
            replica: record.owner.clone(),
            store: record.store,
            renew_by: None,
            not_before: record.not_before,
            not_after: record.not_after,
            issued_by: record.issued_by.clone(),
            certificate: record.certificate.clone(),
        }
    }
}

/// Every CA that is remembered, tier by tier, newest first.
#[derive(Clone, Debug, Default)]
pub struct Tiers {
    /// Self-signed, in the bundle.
    pub roots: Vec<AuthorityInfo>,
    /// Between a root and issuing CAs.
    pub intermediates: Vec<AuthorityInfo>,
    /// Sign leaves.
    pub issuing: Vec<AuthorityInfo>,
}

/// Whose key signs the issuing CA of a replica, and until when that one can issue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuingReplica {
    /// The name of this control plane among those that share its database; empty where it is alone.
    pub name: String,
    /// The one that has the key above issuing CAs, as far as is known.
    pub signer: Option<String>,
    /// Since when this one waits for its next issuing CA from that one.
    pub awaits_since: Option<Timestamp>,
    /// Until when this one can issue.
    pub issues_until: Option<Timestamp>,
}

/// The request for an intermediate's certificate.
#[derive(Clone, Debug)]
pub struct CaRequest {
    /// The key that it is about.
    pub key_id: String,
    /// PKCS#10, PEM.
    pub pem: String,
}

/// What is asked to be registered; the server adds creation time and entitlement.
#[derive(Clone, Debug)]
pub struct RegistrationRequest {
    /// Everything but `created_at` and `created_seq`, which are ignored.
    pub registration: Registration,
    /// Whether its criticality was named, rather than left to the default.
    pub names_criticality: bool,
    /// How it is written over one with the same key.
    pub mode: Mode,
}

/// What became of registrations that were written together.
#[derive(Debug)]
pub struct Applied {
    /// For each, in the order in which they were asked for: what there is afterwards, or the rule
    /// that refuses it.
    pub items: Vec<Result<Written, Denied>>,
    /// Whether that is so now: not in a dry run, and not where one is refused.
    pub is_committed: bool,
}

/// A removal and how long what was issued stays valid.
#[derive(Clone, Debug)]
pub struct Removed {
    /// What was removed.
    pub registrations: Vec<Registration>,
    /// The latest NotAfter of what was issued for them before their removal counted, also while it
    /// was committed; `None` where nothing is valid any more.
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
