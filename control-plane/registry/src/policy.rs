//! The registration policy: which parent may hand out which part of the ID space, and how.
//!
//! Rules are read from top to bottom. The first that covers the parent and the ID decides alone,
//! and every refusal bears its name. Without any rule everything within the built-in rules is
//! allowed; with one, what none covers is refused. Judged at registration and again at every
//! authorization: a registration that a later policy refuses is no longer issued for.

mod limits;
mod pattern;

use std::ops::RangeInclusive;
use std::time::Duration;

use countersign_model::{Parent, Registration, SpiffeId};
use countersign_refusal::Denied;
use jiff::Timestamp;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use countersign_attest::Method;
pub use pattern::{DnsPattern, PathPattern};

/// Most rules of a policy.
pub const MAX_RULES: usize = 256;
/// Most entries of one list of a rule.
pub const MAX_ENTRIES: usize = 64;

/// Rules in the order of the file.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Policy {
    /// Whoever registers says how much it matters.
    require_criticality: bool,
    #[serde(rename = "rule")]
    rules: Vec<Rule>,
}

/// One rule: whom it is for, and what it allows them.
#[derive(Clone, Debug, Serialize)]
pub struct Rule {
    /// As messages name it.
    pub name: String,
    /// Whom it is for.
    #[serde(flatten)]
    pub scope: Scope,
    /// IDs that may be handed out.
    pub ids: Vec<PathPattern>,
    /// Lifetimes of certificates.
    #[serde(rename = "ttl_secs", serialize_with = "limits::whole_secs")]
    pub ttl: RangeInclusive<Duration>,
    /// DNS names that may be registered; none where empty.
    pub dns: Vec<DnsPattern>,
    /// Owners that may answer for it; any where empty.
    pub owners: Vec<String>,
    /// A registration ends within this time; it need not end where absent.
    #[serde(
        rename = "expires_within_secs",
        serialize_with = "limits::whole_secs_or_none"
    )]
    pub expires_within: Option<Duration>,
}

/// The parents that a rule covers.
#[derive(Clone, Debug)]
pub enum Scope {
    /// Nodes, by the path of their ID and the way in which they attested; any where absent.
    Nodes {
        /// Patterns over the path of the node ID; any where empty.
        nodes: Vec<PathPattern>,
        /// The way; any where absent.
        attestor: Option<Method>,
    },
    /// Whoever signs by hand.
    Manual,
}

/// As it is written in the file.
impl Serialize for Scope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Nodes { nodes, attestor } => {
                let mut map = serializer.serialize_map(Some(2))?;
                map.serialize_entry("nodes", nodes)?;
                map.serialize_entry("attestor", attestor)?;
                map.end()
            }
            Self::Manual => serializer.collect_map([("by_hand", true)]),
        }
    }
}

impl Policy {
    /// These rules, in this order.
    pub fn new(rules: Vec<Rule>) -> Self {
        Self {
            require_criticality: false,
            rules,
        }
    }

    /// The same, where the criticality of a registration must be named.
    pub fn requiring_criticality(self, is_required: bool) -> Self {
        Self {
            require_criticality: is_required,
            ..self
        }
    }

    /// Whether the criticality may be left to its default. Judged at registration alone: what is
    /// registered has one.
    pub fn judge_criticality(
        &self,
        registration: &Registration,
        is_named: bool,
    ) -> Result<(), Denied> {
        if is_named || !self.require_criticality {
            return Ok(());
        }
        Err(Denied {
            code: "policy_criticality",
            message: format!(
                "policy.require_criticality demands that the criticality of {} is named",
                registration.key
            ),
            remedy: "say with --criticality how much it matters: low, standard or critical",
        })
    }

    /// Whether the registration may stand, with certificates of this lifetime. A node that has
    /// not attested yet (`attestor` absent) may still do so in any way.
    pub fn judge(
        &self,
        registration: &Registration,
        attestor: Option<Method>,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<(), Denied> {
        if self.rules.is_empty() {
            return Ok(());
        }
        let judge = |attestor| {
            let rule = self.covering(registration, attestor);
            let rule = rule.ok_or_else(|| no_rule(registration))?;
            limits::check(rule, registration, ttl, now)
        };
        if let Some(attestor) = attestor {
            return judge(attestor);
        }
        // Where no way will do, the first one's refusal speaks for all.
        let [first, others @ ..] = &Method::ALL;
        others.iter().fold(judge(*first), |so_far, way| {
            so_far.or_else(|refusal| judge(*way).map_err(|_| refusal))
        })
    }

    fn covering(&self, registration: &Registration, attestor: Method) -> Option<&Rule> {
        self.rules
            .iter()
            .find(|rule| rule.covers(&registration.key.parent, attestor, &registration.key.id))
    }
}

impl Rule {
    fn covers(&self, parent: &Parent, attestor: Method, id: &SpiffeId) -> bool {
        let is_for = match (&self.scope, parent) {
            (
                Scope::Nodes {
                    nodes,
                    attestor: by,
                },
                Parent::Node { node, .. },
            ) => by.is_none_or(|by| by == attestor) && any(nodes, node),
            (Scope::Manual, Parent::Manual) => true,
            _ => false,
        };
        is_for && any(&self.ids, id)
    }
}

fn any(patterns: &[PathPattern], id: &SpiffeId) -> bool {
    patterns.iter().any(|pattern| pattern.matches(id.path()))
}

fn no_rule(registration: &Registration) -> Denied {
    Denied {
        code: "policy_no_rule",
        message: format!("no rule of the policy covers {}", registration.key),
        remedy: "register what a rule covers, or add a [[policy.rule]] for this parent and ID",
    }
}

#[cfg(test)]
mod tests;
