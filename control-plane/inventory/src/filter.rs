//! Which lineages somebody asks for.

use countersign_model::Criticality;
use jiff::{SignedDuration, Timestamp};

use super::Lineage;

/// What a lineage must be. Empty texts ask for nothing.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// This SPIFFE ID.
    pub id: String,
    /// A SPIFFE ID at or below this one.
    pub under: String,
    /// On this node.
    pub node: String,
    /// Whose registration has this owner.
    pub owner: String,
    /// Whose registration has this criticality.
    pub criticality: Option<Criticality>,
    /// Of this profile.
    pub profile: String,
    /// Signed by the CA whose key id begins so.
    pub issuer: String,
    /// Each of these labels, with this value.
    pub labels: Vec<(String, String)>,
    /// The newest certificate ends within this time.
    pub ends_within: Option<SignedDuration>,
    /// Whether the newest certificate is valid.
    pub validity: Validity,
}

/// Whether the newest certificate of a lineage is still valid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Validity {
    /// Valid now.
    #[default]
    Valid,
    /// Ended.
    Expired,
    /// Either.
    Any,
}

impl Filter {
    /// Whether a lineage is asked for.
    pub fn passes(&self, it: &Lineage, now: Timestamp) -> bool {
        let left = it.newest.not_after.duration_since(now);
        is(&self.id, &it.spiffe_id)
            && is(&self.node, &it.node)
            && is(&self.owner, &it.account.owner)
            && is(&self.profile, it.profile.as_str())
            && it.newest.issuer.starts_with(&self.issuer)
            && is_under(&self.under, &it.spiffe_id)
            && self.criticality.is_none_or(|c| c == it.account.criticality)
            && self
                .labels
                .iter()
                .all(|(name, value)| it.account.labels.get(name) == Some(value))
            && self.ends_within.is_none_or(|within| left <= within)
            && self.validity.holds(left > SignedDuration::ZERO)
    }
}

impl Validity {
    fn holds(self, is_valid: bool) -> bool {
        match self {
            Self::Valid => is_valid,
            Self::Expired => !is_valid,
            Self::Any => true,
        }
    }
}

fn is(wanted: &str, found: &str) -> bool {
    wanted.is_empty() || wanted == found
}

/// Whole segments: `/a` is not above `/ab`.
fn is_under(wanted: &str, found: &str) -> bool {
    let below = found.strip_prefix(wanted.trim_end_matches('/'));
    wanted.is_empty() || below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
