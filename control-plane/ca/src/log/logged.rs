//! The proof that a to-be-signed certificate is durable in a log.

use countersign_issue::issuance::Issuance;

/// A to-be-signed certificate that is durable in a log. Only [`Log`](super::Log) makes one that may be signed; one
/// that another replica logged comes from [`Noted::read`](super::Noted::read), and [`crate::sign::sign`] refuses it, whatever
/// key it is given: with the root in a token that all replicas share, both could sign it.
#[derive(Debug)]
pub struct Logged {
    issuance: Box<Issuance>,
    place: u64,
    is_ours: bool,
}

impl Logged {
    /// The certificate and what it is for.
    pub fn issuance(&self) -> &Issuance {
        &self.issuance
    }

    /// Its place in the order of the archive; 0 where the log has none, and where the entry was read
    /// back and nobody said ([`Noted::placed`](super::Noted::placed)).
    pub fn place(&self) -> u64 {
        self.place
    }

    /// Whether the log of this control plane has it.
    pub fn is_ours(&self) -> bool {
        self.is_ours
    }

    pub(super) fn new(mut issuance: Box<Issuance>, place: u64, is_ours: bool) -> Self {
        if place > 0 {
            issuance.order = place;
        }
        Self {
            issuance,
            place,
            is_ours,
        }
    }

    /// For tests of what is made of it.
    #[cfg(any(test, feature = "testing"))]
    pub fn for_test(issuance: Issuance) -> Self {
        Self::new(Box::new(issuance), 0, true)
    }

    /// The certificate and what it is for; the proof that it is durable is given up.
    pub fn into_issuance(self) -> Box<Issuance> {
        self.issuance
    }
}
