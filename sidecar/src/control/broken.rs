//! Why a call came to nothing, in words.
//!
//! tonic says "transport error" when a connection broke; what happened is among the causes.

use std::error::Error;
use std::io;

use countersign_verify::tls::handshake_words;
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
        let alert = rustls::Error::AlertReceived(rustls::AlertDescription::UserCanceled);
        let ended = broken(io::Error::new(io::ErrorKind::InvalidData, alert));
        let words = status_words(&ended);
        assert!(words.contains("the peer ended the handshake"), "{words}");
        let reset = broken(io::Error::new(
            io::ErrorKind::ConnectionReset,
            "reset by peer",
        ));
        assert!(status_words(&reset).ends_with("broke: reset by peer"));
    }

    #[test]
    fn answer_is_told_as_it_came() {
        let answer = Status::permission_denied("not this one");
        assert!(status_words(&answer).ends_with(": not this one"));
    }
}
