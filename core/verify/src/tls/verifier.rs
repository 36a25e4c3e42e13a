//! The verifier of both sides of a handshake.

use std::fmt;
use std::sync::Arc;

use countersign_model::SpiffeId;
use jiff::Timestamp;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::verify_tls13_signature;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::{ClientAuth, IdentityCell, PeerRule, TrustCell, provider, refused};
use crate::{BundleSet, Refusal, VerifiedSvid, verify_svid};

/// A peer whose chain is good and whose ID the rule does not admit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the peer {id} is not among those that this side accepts")]
pub struct PeerRefused {
    /// Who it is, verified.
    pub id: SpiffeId,
}

/// A stable name in snake case for why a handshake failed, for metric labels: the code of a
/// [`Refusal`], or `peer_not_accepted`, `no_certificate`, `no_identity`, `peer_alert`, `tls`.
pub fn handshake_code(error: &Error) -> &'static str {
    match error {
        Error::InvalidCertificate(CertificateError::Expired) => "expired",
        Error::InvalidCertificate(CertificateError::NotValidYet) => "not_yet_valid",
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => "unknown_issuer",
        Error::InvalidCertificate(CertificateError::Revoked) => "revoked",
        Error::InvalidCertificate(CertificateError::BadSignature) => "bad_signature",
        Error::InvalidCertificate(CertificateError::Other(other)) => code_of(other),
        Error::NoCertificatesPresented => "no_certificate",
        Error::Other(other) if other.0.is::<NoIdentity>() => "no_identity",
        Error::AlertReceived(_) => "peer_alert",
        _ => "tls",
    }
}

/// Judges the peer's chain by the bundles of this moment, then its ID by the rule.
pub(super) struct SvidVerifier {
    trust: Arc<TrustCell>,
    rule: Arc<PeerRule>,
    auth: ClientAuth,
    own: Option<Arc<IdentityCell>>,
}

impl SvidVerifier {
    pub(super) fn of_clients(trust: Arc<TrustCell>, rule: Arc<PeerRule>, auth: ClientAuth) -> Self {
        Self {
            trust,
            rule,
            auth,
            own: None,
        }
    }

    /// `own`: what this client must have to go on.
    pub(super) fn of_servers(
        trust: Arc<TrustCell>,
        rule: Arc<PeerRule>,
        own: Option<Arc<IdentityCell>>,
    ) -> Self {
        Self {
            trust,
            rule,
            auth: ClientAuth::Required,
            own,
        }
    }

    fn judge(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let chain: Vec<_> = std::iter::once(leaf)
            .chain(intermediates)
            .map(|der| CertificateDer::from(der.as_ref()))
            .collect();
        let trust = self.trust.load();
        let now = self.trust.now(timestamp(now));
        let svid = verify_svid(&chain, &trust, &[], now).map_err(|refusal| {
            if let Some(svid) = once_verified(&refusal, &chain, &trust) {
                refused::leave(svid.id);
            }
            Error::InvalidCertificate(in_terms_of_tls(refusal))
        })?;
        if self.rule.admits(&svid.id) {
            return Ok(());
        }
        refused::leave(svid.id.clone());
        let refused = PeerRefused { id: svid.id };
        Err(Error::InvalidCertificate(other(refused)))
    }
}

/// Whose chain this is, if nothing but the time is wrong with the leaf.
fn once_verified(
    refusal: &Refusal,
    chain: &[CertificateDer<'_>],
    trust: &BundleSet,
) -> Option<VerifiedSvid> {
    let then = match *refusal {
        Refusal::Expired {
            index: 0,
            not_after,
        } => not_after,
        Refusal::NotYetValid {
            index: 0,
            not_before,
        } => not_before,
        _ => return None,
    };
    verify_svid(chain, trust, &[], then).ok()
}

impl ServerCertVerifier for SvidVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.own.as_ref().is_some_and(|own| own.load().is_none()) {
            return Err(Error::Other(OtherError(Arc::new(NoIdentity))));
        }
        self.judge(end_entity, intermediates, now)
            .map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &provider().signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        supported_schemes()
    }
}

impl ClientCertVerifier for SvidVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.auth == ClientAuth::Required
    }

    /// No hints: a rotation would make them stale, and a client chooses by its own rules.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.judge(end_entity, intermediates, now)
            .map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        ServerCertVerifier::verify_tls13_signature(self, message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        supported_schemes()
    }
}

impl fmt::Debug for SvidVerifier {
    /// Without the rule and the bundles, which can be large.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SvidVerifier")
            .field("auth", &self.auth)
            .finish_non_exhaustive()
    }
}

/// A client that has lost, or never had, the identity that it was to present.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no identity is installed to present")]
struct NoIdentity;

/// What TLS has an alert for keeps its name; every other rule travels whole.
fn in_terms_of_tls(refusal: Refusal) -> CertificateError {
    match refusal {
        Refusal::Expired { index: 0, .. } => CertificateError::Expired,
        Refusal::NotYetValid { index: 0, .. } => CertificateError::NotValidYet,
        Refusal::UnknownIssuer => CertificateError::UnknownIssuer,
        Refusal::Revoked => CertificateError::Revoked,
        Refusal::BadSignature => CertificateError::BadSignature,
        refusal => other(refusal),
    }
}

fn other(error: impl std::error::Error + Send + Sync + 'static) -> CertificateError {
    CertificateError::Other(OtherError(Arc::new(error)))
}

fn code_of(other: &OtherError) -> &'static str {
    if let Some(refusal) = other.0.downcast_ref::<Refusal>() {
        return refusal.code();
    }
    if other.0.is::<PeerRefused>() {
        return "peer_not_accepted";
    }
    "tls"
}

fn supported_schemes() -> Vec<SignatureScheme> {
    provider()
        .signature_verification_algorithms
        .supported_schemes()
}

fn only_tls13() -> Error {
    Error::General("only TLS 1.3 is spoken".into())
}

fn timestamp(now: UnixTime) -> Timestamp {
    let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
}
