//! What is stored of a node, and how an attestation and an eviction change it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Method;

/// What is stored of a node. It is read from the store, or made of the verdict of an attestor
/// ([`Attestation::stored`](crate::attestor::Attestation::stored)).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredNode {
    /// When it attested last.
    pub(super) attested_at: Timestamp,
    /// How; by a join token where an older record does not say.
    #[serde(default, rename = "attestor")]
    pub method: Method,
    /// Node keys certified at earlier log indexes belong to an earlier lineage.
    pub(super) lineage_from: u64,
    /// Since when the lineage is ended by hand, and why.
    #[serde(default)]
    pub(super) evicted: Option<(Timestamp, String)>,
    /// What was certified for the node at earlier log indexes ended with an eviction.
    #[serde(default)]
    pub(super) ended_below: u64,
}

impl StoredNode {
    /// A node that attests now, as the log has so many entries; `before` is what is stored of it
    /// so far. What an eviction ended stays so: all that was certified before, and not only before
    /// the eviction's entry, for an enrolment may have been under way.
    pub(crate) fn attesting(
        method: Method,
        before: Option<&Self>,
        log_size: u64,
        now: Timestamp,
    ) -> Self {
        let ended_below = before.map_or(0, |before| match before.evicted {
            Some(_) => log_size,
            None => before.ended_below,
        });
        Self {
            attested_at: now,
            method,
            lineage_from: log_size,
            evicted: None,
            ended_below,
        }
    }

    /// The same node once the entry at a log index has put it out.
    pub fn evicted(&self, index: u64, reason: &str, now: Timestamp) -> Self {
        Self {
            lineage_from: index + 1,
            evicted: Some((now, reason.to_owned())),
            ended_below: index + 1,
            ..self.clone()
        }
    }

    /// Whether the lineage was ended by hand.
    pub fn is_evicted(&self) -> bool {
        self.evicted.is_some()
    }

    /// Whether what was certified for the node at a log index ended with an eviction.
    pub(super) fn has_ended(&self, index: u64) -> bool {
        self.evicted.is_some() || index < self.ended_below
    }

    /// The newest act on it.
    pub(super) fn changed_at(&self) -> Timestamp {
        let evicted_at = self.evicted.as_ref().map(|(at, _)| *at);
        evicted_at.map_or(self.attested_at, |at| at.max(self.attested_at))
    }
}
