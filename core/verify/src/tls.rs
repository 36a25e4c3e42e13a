//! The rustls adapter: verifiers, certificate resolvers and the two TLS configurations.
//!
//! Every handshake is judged by [`verify_svid`](crate::verify_svid) and then by a [`PeerRule`].
//! A resumed session would be judged by neither, so there is none: no tickets, no session
//! storage, no early data.

mod cell;
mod refused;
mod verifier;
mod words;

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use countersign_model::{SpiffeId, TrustDomain};
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, cipher_suite};
use rustls::server::NoServerSessionStorage;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ServerConfig, SupportedCipherSuite};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

pub use self::cell::{IdentityCell, TrustCell};
pub use self::refused::refused_peer;
use self::verifier::SvidVerifier;
pub use self::verifier::{PeerRefused, handshake_code};
pub use self::words::handshake_words;
use crate::{VerifiedSvid, svid};

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

/// A server configuration: TLS 1.3, no tickets, no session storage. A rule that many
/// configurations share is given as an [`Arc`].
pub fn server_config(
    identity: Arc<IdentityCell>,
    trust: Arc<TrustCell>,
    rule: impl Into<Arc<PeerRule>>,
    auth: ClientAuth,
    alpn: &[&[u8]],
) -> Arc<ServerConfig> {
    let verifier = SvidVerifier::of_clients(trust, rule.into(), auth);
    let mut config = ServerConfig::builder_with_provider(provider().clone())
        .with_protocol_versions(TLS_VERSIONS)
        .expect("the provider has cipher suites of TLS 1.3")
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(identity);
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    config.alpn_protocols = owned(alpn);
    Arc::new(config)
}

/// A client configuration: TLS 1.3, no resumption. The server is recognised by `rule` alone: its
/// host name is not looked at. Without `identity` no client certificate is presented; with an
/// empty [`IdentityCell`] the handshake fails.
pub fn client_config(
    identity: Option<Arc<IdentityCell>>,
    trust: Arc<TrustCell>,
    rule: impl Into<Arc<PeerRule>>,
    alpn: &[&[u8]],
) -> Arc<ClientConfig> {
    let verifier = SvidVerifier::of_servers(trust, rule.into(), identity.clone());
    let builder = ClientConfig::builder_with_provider(provider().clone())
        .with_protocol_versions(TLS_VERSIONS)
        .expect("the provider has cipher suites of TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match identity {
        Some(identity) => builder.with_client_cert_resolver(identity),
        None => builder.with_no_client_auth(),
    };
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    config.alpn_protocols = owned(alpn);
    Arc::new(config)
}

/// A chain (leaf first, root not included) and its PKCS#8 key as rustls presents them.
///
/// # Errors
/// An empty chain, a key that does not load or one that does not match the leaf.
pub fn certified_key(
    chain: Vec<CertificateDer<'static>>,
    pkcs8: &[u8],
) -> Result<CertifiedKey, rustls::Error> {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pkcs8));
    let key = aws_lc_rs::sign::any_supported_type(&key)?;
    let certified = CertifiedKey::new(chain, key);
    certified.keys_match()?;
    Ok(certified)
}

/// What the leaf of a finished handshake says. The handshake itself verified it, by the verifier
/// of this module; this only reads it again.
pub fn peer_of(certificates: &[CertificateDer<'_>]) -> Option<VerifiedSvid> {
    svid::read_leaf(certificates.first()?).ok()
}

/// The one crypto provider: aws-lc-rs, its key exchange groups in their default order with
/// X25519MLKEM768 first, the cipher suites of TLS 1.3 with AES-128 first. The hash of that suite is
/// the one that processors have instructions for, and every handshake hashes all it says.
pub fn provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
        let mut provider = aws_lc_rs::default_provider();
        provider.cipher_suites = CIPHER_SUITES.to_vec();
        Arc::new(provider)
    });
    &PROVIDER
}

fn owned(alpn: &[&[u8]]) -> Vec<Vec<u8>> {
    alpn.iter().map(|protocol| protocol.to_vec()).collect()
}

/// What is offered, most wanted first. A server takes what its client wants most.
const CIPHER_SUITES: &[SupportedCipherSuite] = &[
    cipher_suite::TLS13_AES_128_GCM_SHA256,
    cipher_suite::TLS13_AES_256_GCM_SHA384,
    cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
];

/// TLS 1.3, and nothing else.
pub const TLS_VERSIONS: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];

#[cfg(test)]
mod tests;
