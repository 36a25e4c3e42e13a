//! Why a handshake failed, in words for a person who mends it.
//!
//! What rustls prints of these errors is the Rust form of its types, such as
//! `Other(OtherError(PeerRefused { … }))`.

use std::io;

use rustls::{AlertDescription, CertificateError, Error};

use super::verifier::PeerRefused;
use crate::Refusal;

/// Why a handshake failed: the rule of ours that the peer broke, what the peer says of us, or what
/// the connection says.
pub fn handshake_words(error: &io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    inner.map_or_else(|| error.to_string(), words_of)
}

fn words_of(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(error) => of_certificate(error),
        Error::AlertReceived(alert) => of_alert(*alert),
        Error::NoCertificatesPresented => "the peer presents no certificate".to_owned(),
        Error::InvalidMessage(what) => {
            let what = spaced(&format!("{what:?}"));
            format!("the peer does not speak TLS as we do: {what}")
        }
        Error::PeerIncompatible(what) => {
            let what = spaced(&format!("{what:?}"));
            format!("the peer and we have nothing in common to speak: {what}")
        }
        Error::PeerMisbehaved(what) => {
            let what = spaced(&format!("{what:?}"));
            format!("the peer breaks the rules of TLS: {what}")
        }
        Error::Other(other) => other.0.to_string(),
        error => error.to_string(),
    }
}

fn of_certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::Expired => "the peer's certificate has expired".to_owned(),
        CertificateError::NotValidYet => {
            "the peer's certificate is not valid yet: compare the clocks".to_owned()
        }
        CertificateError::UnknownIssuer => {
            "no root of the trust bundle has issued the peer's certificate".to_owned()
        }
        CertificateError::Revoked => "the peer's certificate is revoked".to_owned(),
        CertificateError::BadSignature => {
            "a signature in the chain of the peer's certificate is wrong".to_owned()
        }
        CertificateError::Other(other) if other.0.is::<PeerRefused>() => other.0.to_string(),
        CertificateError::Other(other) => match other.0.downcast_ref::<Refusal>() {
            Some(refusal) => format!("the peer's chain is refused: {refusal}"),
            None => other.0.to_string(),
        },
        error => format!(
            "the peer's certificate is refused: {}",
            spaced(&format!("{error:?}"))
        ),
    }
}

fn of_alert(alert: AlertDescription) -> String {
    let says = match alert {
        AlertDescription::UnknownCA => "it trusts no issuer of our certificate",
        AlertDescription::CertificateExpired => "our certificate has expired",
        AlertDescription::CertificateRevoked => "our certificate is revoked",
        AlertDescription::CertificateRequired => "it wants a certificate and was shown none",
        AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnsupportedCertificate => "it does not accept our certificate",
        AlertDescription::AccessDenied => "access denied",
        AlertDescription::ProtocolVersion => "it does not speak TLS 1.3",
        other => {
            let code = u8::from(other);
            let name = spaced(&format!("{other:?}"));
            return format!("the peer ended the handshake: {name} (TLS alert {code})");
        }
    };
    format!("the peer ended the handshake: {says}")
}

/// The name of a type's variant as words, without what it holds.
fn spaced(name: &str) -> String {
    let name = name.split(|c: char| !c.is_alphanumeric()).next();
    let mut words = String::new();
    for letter in name.unwrap_or_default().chars() {
        if letter.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.extend(letter.to_lowercase());
    }
    words
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use countersign_model::SpiffeId;
    use rustls::{InvalidMessage, OtherError, PeerIncompatible, PeerMisbehaved};

    use super::*;

    fn said(error: Error) -> String {
        handshake_words(&io::Error::new(io::ErrorKind::InvalidData, error))
    }

    fn other(error: impl std::error::Error + Send + Sync + 'static) -> Error {
        Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(error))))
    }

    #[test]
    fn no_error_is_told_in_its_rust_form() {
        let id = SpiffeId::new("spiffe://example.org/web").unwrap();
        let errors = [
            (
                other(PeerRefused { id }),
                "the peer spiffe://example.org/web is not among those",
            ),
            (
                other(Refusal::LeafIsCa),
                "refused: the leaf is a CA certificate",
            ),
            (
                CertificateError::UnknownIssuer.into(),
                "no root of the trust bundle",
            ),
            (
                CertificateError::BadEncoding.into(),
                "refused: bad encoding",
            ),
            (
                Error::AlertReceived(AlertDescription::UnknownCA),
                "trusts no issuer of our",
            ),
            (
                Error::AlertReceived(AlertDescription::DecodeError),
                "decode error (TLS alert 50)",
            ),
            (
                InvalidMessage::InvalidContentType.into(),
                "invalid content type",
            ),
            (
                PeerIncompatible::NoCipherSuitesInCommon.into(),
                "no cipher suites in common",
            ),
            (
                PeerMisbehaved::TooManyEmptyFragments.into(),
                "rules of TLS: too many empty fragments",
            ),
        ];
        for (error, part) in errors {
            let said = said(error);
            assert!(said.contains(part), "{part} in {said}");
            assert!(
                !said.contains(['{', '('])
                    || said.contains("TLS alert")
                    || said.contains("section"),
                "{said}"
            );
        }
        let broken = io::Error::new(io::ErrorKind::ConnectionReset, "reset");
        assert_eq!(handshake_words(&broken), "reset");
    }
}
