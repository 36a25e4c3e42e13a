//! Admission: who may have something signed now, who waits, and who is sent away for a while.
//!
//! Two gates stand before the costly part of a call (the check of a key proof and the signature):
//! one for recognised callers, one for attestations, so that a flood of bad tokens takes nothing
//! from the nodes that are there. A gate lets a bounded number run. Whoever comes then waits in a
//! bounded queue that is fair between callers, and what has no valid certificate goes before a
//! routine renewal. `queue` decides, purely; `gate` awaits. Nothing here knows a certificate.

mod gate;
mod queue;
mod rate;
mod series;

use std::time::Duration;

use countersign_model::SpiffeId;
use countersign_refusal::Denied;

pub use gate::{Gate, Permit};
pub use rate::Rate;
pub use series::{AdmissionSeries, Gates};

/// How long a call waits at most: a sidecar gives up after 10 s.
pub const MAX_WAIT: Duration = Duration::from_secs(9);
/// A renewal that has waited this long goes on as if it had no certificate.
pub const PROMOTED_AFTER: Duration = Duration::from_secs(2);
/// Nobody is told to come back sooner.
pub const SOONEST_RETRY: Duration = Duration::from_millis(250);
/// Nobody is told to stay away longer.
pub const LATEST_RETRY: Duration = Duration::from_secs(10);
/// Callers that are remembered at once: who waits, and who used some of its rate lately.
pub const MAX_CALLERS: usize = 65_536;

/// Who asks for a signature.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Caller {
    /// A recognised node.
    Node(SpiffeId),
    /// Who may use the admin socket, for what is signed by hand.
    Operator,
}

/// How pressing a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// There is no valid certificate, or not for long.
    First,
    /// The certificate that is to be replaced is still good.
    Renewal,
}

/// The limits of one gate.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Calls that run at once.
    pub max_in_flight: usize,
    /// Calls that wait at once.
    pub max_queued: usize,
    /// Calls of one caller that wait at once.
    pub max_queued_per_caller: usize,
    /// How long a call waits at most.
    pub max_wait: Duration,
    /// What one caller may use up over time.
    pub rate: Rate,
    /// What counts against that rate.
    pub counts: Counts,
}

/// What counts against the rate of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counts {
    /// Every call that is let in or waits.
    Calls,
    /// What the gate is told to count: a failure.
    Failures,
}

/// Why a call was sent away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The queue is full.
    QueueFull,
    /// This caller's share of the queue is full.
    CallerQueueFull,
    /// This caller used up its rate.
    Rate,
    /// It waited for as long as a call may.
    Waited,
}

impl Reason {
    /// A label value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::CallerQueueFull => "caller_queue_full",
            Self::Rate => "rate",
            Self::Waited => "waited",
        }
    }
}

/// Not now: come back later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}; try again in {} ms", self.sentence(), .retry_after.as_millis())]
pub struct Refused {
    /// Why.
    pub reason: Reason,
    /// When it is worth trying again.
    pub retry_after: Duration,
}

impl Refused {
    fn sentence(&self) -> &'static str {
        match self.reason {
            Reason::QueueFull => "too many calls wait for a signature",
            Reason::CallerQueueFull => "too many calls of this caller wait for a signature",
            Reason::Rate => "this caller asks for more signatures than its rate allows",
            Reason::Waited => "no signature could be made in time",
        }
    }
}

impl From<&Refused> for Denied {
    fn from(refused: &Refused) -> Self {
        Self {
            code: "rate_limited",
            message: refused.to_string(),
            remedy: "wait as long as the answer says; raise the limits in [admission] if they are \
                     too low for this fleet",
        }
    }
}

#[cfg(test)]
mod tests;
