//! CAs that are not valid yet by the clock: it is behind now, or was ahead when they were made.
//!
//! Nothing is issued under them, for every verifier would refuse it. Which of the two clocks is wrong
//! is for the operator to know: he sets the clock right, or rotates the CA. The root that this makes
//! waits for its consumers like any other: where our clock alone is wrong they accept the one before.

use std::fmt;

use countersign_ca::authorities::CaRecord;
use countersign_issue::profile::Tier;
use countersign_model::whole_second;
use countersign_refusal::Unavailable;
use jiff::Timestamp;
use tracing::{error, info};

use super::ca_set::CaSet;
use super::{Authority, AuthorityError};
use crate::series::Alarm;

/// CAs on a path. What is damaged in the store may go in a circle.
const TIERS: usize = 3;

/// The uppermost CA that signs and is not valid yet.
#[derive(Clone, Debug)]
pub(super) struct NotYetValid {
    tier: Tier,
    key_id: String,
    not_before: Timestamp,
    now: Timestamp,
    /// Whether another signed it.
    is_foreign: bool,
}

impl NotYetValid {
    /// What makes a successor that is valid.
    fn rotation(&self) -> &'static str {
        match (self.tier, self.is_foreign) {
            (_, true) => "countersign ca csr and ca import",
            (Tier::Root, _) => {
                "countersign ca rotate-root; who cannot connect any more is waited for until \
                 countersign ca waive --absent"
            }
            (Tier::Intermediate, _) => "countersign ca rotate-intermediate",
            (Tier::Issuing, _) => "countersign ca rotate-issuing",
        }
    }
}

impl fmt::Display for NotYetValid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (tier, key_id, not_before) = (self.tier.as_str(), &self.key_id, self.not_before);
        write!(
            f,
            "the {tier} CA {key_id} is not valid before {not_before}, and the clock says {}: nothing \
             is issued that everybody would refuse. Where the clock is behind, set it right; where it \
             was ahead when this CA was made, run {}",
            whole_second(self.now),
            self.rotation()
        )
    }
}

impl Authority {
    /// Which CA that signs is not valid yet.
    pub(super) fn not_yet_valid(&self, now: Timestamp) -> Option<NotYetValid> {
        not_yet_valid(&self.hierarchy.read(), now)
    }

    /// Before something is issued.
    ///
    /// # Errors
    /// Every verifier would refuse it by this clock.
    pub(super) fn check_clock(&self, now: Timestamp) -> Result<(), AuthorityError> {
        match self.not_yet_valid(now) {
            None => Ok(()),
            Some(wrong) => Err(Unavailable::retry(wrong.to_string()).into()),
        }
    }

    /// Whether a CA that signed is not valid yet, or one above it: it was replaced for that.
    pub(super) fn is_too_early(&self, key_id: &str, now: Timestamp) -> bool {
        let cas = self.hierarchy.read();
        let above = |ca: &&CaRecord| {
            let is_root = ca.tier == Tier::Root;
            { !is_root }.then(|| cas.authorities.record(&ca.issued_by))?
        };
        let path = std::iter::successors(cas.authorities.record(key_id), above);
        path.take(TIERS).any(|ca| ca.not_before > now)
    }

    /// Says it once when it comes, and when it has gone.
    pub(super) fn tell_of_clock(&self, now: Timestamp) {
        let wrong = self.not_yet_valid(now);
        let told = self.hierarchy.clock_was_told(wrong.is_some());
        match wrong {
            Some(wrong) if !told => {
                self.metrics.alarm(Alarm::IssuerNotYetValid);
                error!(reason = %wrong, "alarm: a CA is not valid yet by this clock");
            }
            None if told => info!("every CA that signs is valid by this clock again"),
            _ => {}
        }
    }

    /// Whether the active root is not valid yet, so that we can present nothing to who is absent.
    pub(super) fn is_root_early(&self, now: Timestamp) -> bool {
        let cas = self.hierarchy.read();
        let active = cas.active(Tier::Root);
        active.is_some_and(|root| root.not_before > now)
    }
}

fn not_yet_valid(cas: &CaSet, now: Timestamp) -> Option<NotYetValid> {
    let tiers = [Tier::Root, Tier::Intermediate, Tier::Issuing].into_iter();
    let signing = tiers.filter_map(|tier| cas.active(tier));
    let wrong = { signing }.find(|ca| ca.not_before > now)?;
    let issuer = cas.authorities.record(&wrong.issued_by);
    Some(NotYetValid {
        tier: wrong.tier,
        key_id: wrong.key_id.clone(),
        not_before: wrong.not_before,
        now,
        is_foreign: issuer.is_none_or(|issuer| issuer.store.is_none()),
    })
}
