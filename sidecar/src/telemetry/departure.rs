//! Why an address of the control plane was left: a word for metrics and the log.

use prometheus_client::encoding::{EncodeLabelValue, LabelValueEncoder};

/// Why an address was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Departure {
    /// The connection broke.
    Broken,
    /// It answered nothing any more.
    Silent,
    /// It ended the stream in good order.
    Ended,
    /// It cannot do now what is asked of it.
    Unavailable,
    /// It does not recognise the credential, or refuses the node.
    Refused,
    /// It is older than what this sidecar has of it.
    Older,
    /// It speaks otherwise, reads nothing, or says what cannot be used.
    Unusable,
    /// It did not fail: the connection was replaced by one with the renewed credential.
    Renewed,
    /// It did not fail: it asked the sidecar to go where there are fewer streams.
    Rebalanced,
}

impl Departure {
    /// Each of them.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 9] = [
        Self::Broken,
        Self::Silent,
        Self::Ended,
        Self::Unavailable,
        Self::Refused,
        Self::Older,
        Self::Unusable,
        Self::Renewed,
        Self::Rebalanced,
    ];

    /// The word.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Broken => "broken",
            Self::Silent => "silent",
            Self::Ended => "ended",
            Self::Unavailable => "unavailable",
            Self::Refused => "refused",
            Self::Older => "older",
            Self::Unusable => "unusable",
            Self::Renewed => "renewed",
            Self::Rebalanced => "rebalanced",
        }
    }
}

impl EncodeLabelValue for Departure {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        self.as_str().encode(encoder)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_reason_has_a_word_of_its_own() {
        let words: BTreeSet<_> = Departure::ALL.map(Departure::as_str).into();
        assert_eq!(words.len(), Departure::ALL.len());
    }
}
