//! Which registrations somebody asks for.

use countersign_model::{Registration, SpiffeId};
use jiff::{SignedDuration, Timestamp};

/// What a registration must be. What is empty or absent asks for nothing.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Its ID is this one or below it.
    pub id: Option<SpiffeId>,
    /// This node may hold it.
    pub node: Option<SpiffeId>,
    /// It has this owner.
    pub owner: String,
    /// It has each of these labels, with this value.
    pub labels: Vec<(String, String)>,
    /// The right ends within this time.
    pub ends_within: Option<SignedDuration>,
}

impl Filter {
    /// Whether a registration is asked for.
    pub fn passes(&self, it: &Registration, now: Timestamp) -> bool {
        let ends = |within| {
            let left = it.expires_at.map(|end| end.duration_since(now));
            left.is_some_and(|left| left <= within)
        };
        let has = |(key, value): &(String, String)| it.labels.get(key) == Some(value);
        let is_below = |above| it.key.id.is_at_or_below(above);
        self.id.as_ref().is_none_or(is_below)
            && (self.node.is_none() || self.node.as_ref() == it.key.node())
            && (self.owner.is_empty() || self.owner == it.owner)
            && self.labels.iter().all(has)
            && self.ends_within.is_none_or(ends)
    }
}
