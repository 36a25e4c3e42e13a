//! Why a call came to nothing, in words.
//!
//! Of a connection that broke tonic says "transport error"; what happened is among the causes.

use std::error::Error;
use std::io;

use countersign_verify::tls::handshake_words;
use rustls::AlertDescription;
use tonic::Status;

/// What the control plane answered, or how the connection to it broke.
pub(super) fn status_words(status: &Status) -> String {
    match causes(status).last() {
        None => {
            let (code, message) = (status.code(), status.message());
            format!("the control plane answered {code}: {message}")
        }
        Some(cause) => {
            let io = causes(status).filter_map(|cause| cause.downcast_ref::<io::Error>());
            let why = io.last().map_or_else(|| cause.to_string(), handshake_words);
            format!("the connection to the control plane broke: {why}")
        }
    }
}

/// Whether the control plane refused the certificate that it was shown. Of that we hear once the
/// handshake is over for us: the alert ends what came after it. HTTP/2 keeps its words alone.
pub(super) fn is_certificate_refused(status: &Status) -> bool {
    let alerts = ABOUT_CERTIFICATES.iter().copied();
    let mut words = alerts.map(|alert| rustls::Error::AlertReceived(alert).to_string());
    words.any(|alert| causes(status).any(|cause| cause.to_string().ends_with(&alert)))
}

const ABOUT_CERTIFICATES: &[AlertDescription] = &[
    AlertDescription::UnknownCA,
    AlertDescription::BadCertificate,
    AlertDescription::CertificateExpired,
    AlertDescription::CertificateRevoked,
    AlertDescription::CertificateUnknown,
    AlertDescription::UnsupportedCertificate,
];

fn causes(status: &Status) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(status.source(), |cause| (*cause).source())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(error: impl Error + Send + Sync + 'static) -> Status {
        Status::from_error(Box::new(error))
    }

    #[test]
    fn broken_connection_is_told_by_its_cause() {
        let alert = rustls::Error::AlertReceived(AlertDescription::UnknownCA);
        let refused = broken(io::Error::new(io::ErrorKind::InvalidData, alert));
        assert!(is_certificate_refused(&refused));
        let words = status_words(&refused);
        assert!(
            words.ends_with("it trusts no issuer of our certificate"),
            "{words}"
        );
        let words_alone = io::Error::other("received fatal alert: UnknownCA");
        assert!(is_certificate_refused(&broken(words_alone)));
        let reset = broken(io::Error::new(
            io::ErrorKind::ConnectionReset,
            "reset by peer",
        ));
        assert!(!is_certificate_refused(&reset));
        assert!(status_words(&reset).ends_with("broke: reset by peer"));
    }

    #[test]
    fn answer_is_told_as_it_came() {
        let answer = Status::permission_denied("not this one");
        assert!(status_words(&answer).ends_with(": not this one"));
        assert!(!is_certificate_refused(&answer));
    }
}
