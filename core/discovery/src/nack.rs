//! Refusals by a consumer, cut to what may leave the process.
//!
//! An Envoy's NACK text can be a debug dump of the whole secret with its private key, so the text
//! is reduced to a reason and at most 200 redacted characters where it arrives.

/// Most characters of a NACK text that are kept.
pub const MAX_TEXT_CHARS: usize = 200;

/// What an Envoy's text says, as one of the known messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NackReason {
    /// The chain does not parse or is in the wrong order.
    Chain,
    /// The private key does not parse.
    Key,
    /// Key and leaf do not match.
    KeyMismatch,
    /// The trust bundle does not parse.
    Bundle,
    /// A CRL does not parse.
    Crl,
    /// The message breaks a validation rule of Envoy's protos.
    Validation,
    /// Anything else.
    Other,
}

/// A refusal as it may be logged, counted and sent upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nack {
    /// What it is about.
    pub reason: NackReason,
    /// At most [`MAX_TEXT_CHARS`] characters without anything that could be a key.
    pub text: String,
}
