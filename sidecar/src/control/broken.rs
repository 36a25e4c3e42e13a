//! Why a call came to nothing, in words.
//!
//! tonic says "transport error" when a connection broke; what happened is among the causes.

use std::error::Error;
use std::io;

use countersign_proto::REMEDY_KEY;
use countersign_verify::tls::handshake_words;
use tonic::Status;

/// Longest word beside an answer that is shown, in bytes.
const MAX_TOLD_BYTES: usize = 256;

/// What the control plane answered, or how the connection to it broke.
pub(super) fn status_words(status: &Status) -> String {
    match causes(status).last() {
        None => {
            let told = told(status).map_or_else(String::new, |told| format!(": {told}"));
            // A code alone is described by the library, in a sentence about gRPC.
            match status.message() {
                "" => format!("the control plane answered: {}{told}", status.code()),
                message => format!("the control plane answered: {message}{told}"),
            }
        }
        Some(cause) => {
            let io = causes(status).filter_map(|cause| cause.downcast_ref::<io::Error>());
            let why = io.last().map_or_else(|| cause.to_string(), handshake_words);
            format!("the connection to the control plane broke: {why}")
        }
    }
}

/// Whether this is no answer of the control plane: the connection to it broke.
pub(super) fn is_broken(status: &Status) -> bool {
    status.source().is_some()
}

/// What the control plane tells beside its answer, as to the holder of a token that has ended.
fn told(status: &Status) -> Option<&str> {
    let told = status.metadata().get(REMEDY_KEY)?.to_str().ok()?;
    (told.len() <= MAX_TOLD_BYTES).then_some(told)
}

fn causes(status: &Status) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(status.source(), |cause| (*cause).source())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holder_of_a_token_hears_what_became_of_it() {
        let mut refused = Status::permission_denied("attestation refused");
        let words = status_words(&refused);
        assert!(words.ends_with(": attestation refused"), "{words}");
        let told = "this join token was used, at 2026-11-30T16:00:00Z; make a new one";
        refused
            .metadata_mut()
            .insert(REMEDY_KEY, told.parse().unwrap());
        let words = status_words(&refused);
        assert!(
            words.ends_with(&format!(": attestation refused: {told}")),
            "{words}"
        );
        let long = "x".repeat(MAX_TOLD_BYTES + 1);
        refused
            .metadata_mut()
            .insert(REMEDY_KEY, long.parse().unwrap());
        assert!(!status_words(&refused).contains("xx"));
    }

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
