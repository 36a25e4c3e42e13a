//! The rustls adapter: verifiers, certificate resolvers and the two TLS configurations.

use std::collections::BTreeSet;
use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use countersign_model::{SpiffeId, TrustDomain};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ServerConfig};
use rustls_pki_types::CertificateDer;

use crate::{BundleSet, VerifiedSvid};

/// The bundles that verifiers judge by, replaced while handshakes go on.
#[derive(Debug, Default)]
pub struct TrustCell(ArcSwap<BundleSet>);

impl TrustCell {
    /// A cell that trusts these bundles.
    pub fn new(bundles: BundleSet) -> Arc<Self> {
        Arc::new(Self(ArcSwap::from_pointee(bundles)))
    }

    /// Handshakes that begin from now on are judged by these bundles.
    pub fn install(&self, bundles: BundleSet) {
        self.0.store(Arc::new(bundles));
    }

    /// The bundles at this moment.
    pub fn load(&self) -> Arc<BundleSet> {
        self.0.load_full()
    }
}

/// The certificate and key that a listener or dialler presents, replaced while handshakes go on.
#[derive(Debug, Default)]
pub struct IdentityCell(ArcSwapOption<CertifiedKey>);

impl IdentityCell {
    /// A cell that presents nothing yet: handshakes fail until something is installed.
    pub fn empty() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// Handshakes that begin from now on present this.
    pub fn install(&self, key: CertifiedKey) {
        self.0.store(Some(Arc::new(key)));
    }

    /// Handshakes that begin from now on fail: the right to this identity was removed.
    pub fn withdraw(&self) {
        self.0.store(None);
    }

    /// What is presented at this moment.
    pub fn load(&self) -> Option<Arc<CertifiedKey>> {
        self.0.load_full()
    }
}

/// Whom a handshake accepts, after the chain itself was accepted.
#[derive(Clone, Debug)]
pub enum PeerRule {
    /// Any SVID of this trust domain.
    Member(TrustDomain),
    /// Exactly one of these IDs.
    OneOf(BTreeSet<SpiffeId>),
}

impl PeerRule {
    /// Whether the rule admits an ID.
    pub fn admits(&self, id: &SpiffeId) -> bool {
        match self {
            Self::Member(trust_domain) => id.is_member_of(trust_domain),
            Self::OneOf(ids) => ids.contains(id),
        }
    }
}

/// Whether a server asks for a client certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// A client without a certificate is admitted; one with a bad certificate is not.
    Optional,
    /// No certificate, no connection.
    Required,
}

/// A server configuration: TLS 1.3, no tickets, no session storage.
pub fn server_config(
    identity: Arc<IdentityCell>,
    trust: Arc<TrustCell>,
    rule: PeerRule,
    auth: ClientAuth,
    alpn: &[&[u8]],
) -> Arc<ServerConfig> {
    let _ = (identity, trust, rule, auth, alpn);
    panic!("skeleton")
}

/// A client configuration: TLS 1.3, no resumption. The server is recognised by `rule` alone: its
/// host name is not looked at. Without `identity` no client certificate is presented.
pub fn client_config(
    identity: Option<Arc<IdentityCell>>,
    trust: Arc<TrustCell>,
    rule: PeerRule,
    alpn: &[&[u8]],
) -> Arc<ClientConfig> {
    let _ = (identity, trust, rule, alpn);
    panic!("skeleton")
}

/// A chain (leaf first, root not included) and its PKCS#8 key as rustls presents them.
///
/// # Errors
/// A key that does not load or does not match the leaf.
pub fn certified_key(
    chain: Vec<CertificateDer<'static>>,
    pkcs8: &[u8],
) -> Result<CertifiedKey, rustls::Error> {
    let _ = (chain, pkcs8);
    Err(rustls::Error::General("skeleton".into()))
}

/// What the leaf of a finished handshake says. The handshake itself verified it, by the verifier
/// of this module; this only reads it again.
pub fn peer_of(certificates: &[CertificateDer<'_>]) -> Option<VerifiedSvid> {
    let _ = certificates;
    None
}
