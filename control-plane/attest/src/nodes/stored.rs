//! What is stored of a node, and how an attestation and an eviction change it.

use countersign_model::Seq;
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
    /// Since when the lineage is ended by hand, and why.
    #[serde(default)]
    pub(super) evicted: Option<(Timestamp, String)>,
    /// The commit of its newest eviction: what was certified for the lineages before it has ended.
    #[serde(default)]
    pub(super) ended_by: Seq,
}

impl StoredNode {
    /// A node that attests now; `before` is what is stored of it so far, and the commit that wrote
    /// that. What an eviction ended stays so.
    pub(crate) fn attesting(method: Method, before: Option<(&Self, Seq)>, now: Timestamp) -> Self {
        let ended_by = before.map_or(Seq(0), |(before, written_by)| match before.evicted {
            Some(_) => written_by,
            None => before.ended_by,
        });
        Self {
            attested_at: now,
            method,
            evicted: None,
            ended_by,
        }
    }

    /// The same node once it is put out.
    pub fn evicted(&self, reason: &str, now: Timestamp) -> Self {
        Self {
            evicted: Some((now, reason.to_owned())),
            ..self.clone()
        }
    }

    /// Whether the lineage was ended by hand.
    pub fn is_evicted(&self) -> bool {
        self.evicted.is_some()
    }

    /// Whether what was certified for a lineage of the node ended with an eviction.
    pub(super) fn has_ended(&self, lineage: Seq) -> bool {
        self.evicted.is_some() || lineage < self.ended_by
    }

    /// The newest act on it.
    pub(super) fn changed_at(&self) -> Timestamp {
        let evicted_at = self.evicted.as_ref().map(|(at, _)| *at);
        evicted_at.map_or(self.attested_at, |at| at.max(self.attested_at))
    }
}
