//! How an identity on a node stands, for operators: a pure decision over what is known and `now`.
//!
//! The words are the first that is true of: refused, then what is wrong with the node, then what is
//! wrong with the certificate. So a row has one state and one cause, the one that is mended first.

use std::time::Duration;

use countersign_model::Lifetime;
use jiff::Timestamp;

use super::has_passed;

/// An acknowledgement, a renewal, or a first certificate, may take so long before somebody has to look:
/// a node's clock may be behind, and many may be at it together.
pub const SETTLING: Duration = Duration::from_secs(10);

/// How a node stands, and since when where that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeStanding {
    /// Its stream is open.
    Connected(Timestamp),
    /// It attested, and no stream of it is open; `None`: not since the control plane started.
    Away(Option<Timestamp>),
    /// It never attested.
    NeverAttested,
    /// Its last attestation was ended by hand.
    Evicted(Timestamp),
    /// No join token attests it.
    Banned(Timestamp),
}

impl NodeStanding {
    /// The word used in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connected(_) => "connected",
            Self::Away(_) => "away",
            Self::NeverAttested => "never_attested",
            Self::Evicted(_) => "evicted",
            Self::Banned(_) => "banned",
        }
    }

    /// Since when it stands so.
    pub fn since(self) -> Option<Timestamp> {
        match self {
            Self::Connected(since) | Self::Evicted(since) | Self::Banned(since) => Some(since),
            Self::Away(since) => since,
            Self::NeverAttested => None,
        }
    }

    /// Whether its stream is open.
    pub fn is_connected(self) -> bool {
        matches!(self, Self::Connected(_))
    }
}

/// What is known of one identity on one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// It is not issued for any more, since then where that is known.
    pub refused: Option<Option<Timestamp>>,
    /// Its node.
    pub node: NodeStanding,
    /// When the node was entitled to it.
    pub entitled_at: Timestamp,
    /// Whether its node enrols it before anybody asks; `None` where the node does not say.
    pub is_ahead: Option<bool>,
    /// The newest certificate.
    pub svid: Option<SvidFacts>,
}

/// What is known of the newest certificate of an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SvidFacts {
    /// From issue to NotAfter.
    pub lifetime: Lifetime,
    /// When its node renews it.
    pub renewal_due: Timestamp,
    /// Whether its node has acknowledged it.
    pub is_acknowledged: bool,
    /// It was made before the registration changed what certificates say: then, where that is known.
    pub outdated: Option<Option<Timestamp>>,
}

/// What a row says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The word used in JSON.
    pub state: &'static str,
    /// Since when, where that is known.
    pub since: Option<Timestamp>,
    /// Whether somebody should look at it.
    pub needs_attention: bool,
}

impl Facts {
    /// What the row says at `now`.
    pub fn standing(&self, now: Timestamp) -> Standing {
        if let Some(since) = self.refused {
            return attention("refused", since);
        }
        let NodeStanding::Connected(connected) = self.node else {
            return attention(self.node.as_str(), self.node.since());
        };
        match &self.svid {
            Some(svid) => svid.standing(connected, now),
            None if self.is_ahead == Some(true) => {
                let since = self.entitled_at.max(connected);
                after(SETTLING, "awaited", since, now)
            }
            None => Standing {
                state: "not_asked_for",
                since: Some(self.entitled_at),
                needs_attention: false,
            },
        }
    }
}

impl SvidFacts {
    fn standing(&self, connected: Timestamp, now: Timestamp) -> Standing {
        let Lifetime {
            issued_at,
            not_after,
        } = self.lifetime;
        if self.lifetime.is_expired(now) {
            attention("expired", Some(not_after))
        } else if now > self.renewal_due {
            after(SETTLING, "overdue", self.renewal_due, now)
        } else if let Some(changed) = self.outdated {
            match changed {
                Some(changed) => after(SETTLING, "changed", changed.max(connected), now),
                // So long ago that nobody remembers.
                None => attention("changed", None),
            }
        } else if !self.is_acknowledged {
            after(SETTLING, "unacknowledged", issued_at.max(connected), now)
        } else {
            Standing {
                state: "held",
                since: Some(issued_at),
                needs_attention: false,
            }
        }
    }
}

fn attention(state: &'static str, since: Option<Timestamp>) -> Standing {
    Standing {
        state,
        since,
        needs_attention: true,
    }
}

/// A state that is as it should be for a while.
fn after(grace: Duration, state: &'static str, since: Timestamp, now: Timestamp) -> Standing {
    Standing {
        state,
        since: Some(since),
        needs_attention: has_passed(since, grace, now),
    }
}

#[cfg(test)]
mod tests;
