//! How long certificates of a profile may live, and how far their NotBefore lies back.
//!
//! An operator narrows what the product allows, and never widens it.

use std::ops::RangeInclusive;
use std::time::Duration;

use countersign_registry::rules;

use super::Profile;
use crate::Finding;
use crate::finding::require;

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Lifetimes of CA certificates.
const CA_TTL: RangeInclusive<Duration> = secs(120)..=secs(36_500 * 24 * 3_600);
/// How far NotBefore of a leaf may lie back: for clocks that are behind.
pub const LEAF_BACKDATE: RangeInclusive<Duration> = secs(0)..=secs(600);
/// The same of CA certificates, which are rare and live long.
pub const CA_BACKDATE: RangeInclusive<Duration> = secs(0)..=secs(24 * 3_600);

/// What an operator sets for all profiles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileTimes {
    /// `svid.min_ttl`: the shortest life of an X.509-SVID.
    pub svid_min_ttl: Duration,
    /// `svid.max_ttl`: the longest life of an X.509-SVID.
    pub svid_max_ttl: Duration,
    /// `svid.backdate`: how far NotBefore of a leaf lies before the time of issue.
    pub svid_backdate: Duration,
    /// `ca.backdate`: the same of CA certificates.
    pub ca_backdate: Duration,
}

impl Default for ProfileTimes {
    fn default() -> Self {
        Self {
            svid_min_ttl: *rules::TTL.start(),
            svid_max_ttl: *rules::TTL.end(),
            svid_backdate: secs(60),
            ca_backdate: secs(3_600),
        }
    }
}

/// The bounds of one certificate's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// Shortest lifetime.
    pub min_ttl: Duration,
    /// Longest lifetime.
    pub max_ttl: Duration,
    /// How far NotBefore lies back.
    pub backdate: Duration,
}

impl ProfileTimes {
    /// What binds a profile.
    pub fn of(&self, profile: Profile) -> Times {
        let (ttl, backdate) = match profile {
            Profile::Svid => (self.svid_min_ttl..=self.svid_max_ttl, self.svid_backdate),
            Profile::Server => (rules::TTL, self.svid_backdate),
            Profile::Issuing | Profile::Intermediate | Profile::Root => (CA_TTL, self.ca_backdate),
        };
        Times {
            min_ttl: *ttl.start(),
            max_ttl: *ttl.end(),
            backdate,
        }
    }
}

impl Times {
    /// Whether a lifetime may be asked for.
    pub fn allow(&self, ttl: Duration) -> Result<(), Finding> {
        require(
            (self.min_ttl..=self.max_ttl).contains(&ttl),
            "ttl",
            "the lifetime is outside the bounds of its profile",
            "svid.min_ttl, svid.max_ttl",
        )
    }
}
