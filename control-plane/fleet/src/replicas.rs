//! How each control plane of a database stands, for operators: a pure decision over what is known of it and
//! `now`. `status` and `replica list` tell the same, because both ask here.
//!
//! The words are the first that is true of: what its name says (invited, sealed), whether it is there at
//! all, and what keeps one that is there from its work. So a row has one state and one cause.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::has_passed;

/// One that was heard of within this time is alive: each says every 5 s that it is there.
pub const ALIVE: Duration = Duration::from_secs(15);
/// Clocks that differ by more are not the same: a heartbeat is on its way for less, and a tick old.
pub const CLOCKS_AGREE: SignedDuration = SignedDuration::from_secs(20);
/// A control plane that joined may take so long to say that it is there, and to have its issuing CA.
const JOINING: Duration = Duration::from_secs(60);
/// More commits than a heartbeat is behind where all is well: those of several seconds under load.
const BEHIND: u64 = 10_000;

/// What the name of a control plane says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Membership {
    /// It may join until then.
    Invited(Timestamp),
    /// It joined then.
    Joined(Timestamp),
    /// Its log was sealed then.
    Sealed(Timestamp),
}

/// What a control plane said of itself last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// How long ago, by no clock that is set; `None`: not since the one that answers has started.
    pub ago: Option<Duration>,
    /// When it said so, by its own clock.
    pub at: Timestamp,
    /// The newest commit that it had taken then.
    pub sequence: u64,
    /// The newest commit that there was then.
    pub newest: u64,
}

/// What is known of one control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicaFacts {
    /// What its name says.
    pub membership: Membership,
    /// What it last said of itself; `None` where it never did.
    pub heard: Option<Heard>,
    /// Since when nothing of it is taken any more, where its log is not sealed yet.
    pub fenced: Option<Timestamp>,
    /// When its issuing CA ends; `None` where it has none.
    pub issues_until: Option<Timestamp>,
}

/// What a row says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicaStanding {
    /// The word used in JSON.
    pub state: &'static str,
    /// Since when, where that is known; of one that is invited, until when.
    pub since: Option<Timestamp>,
    /// Whether somebody should look at it.
    pub needs_attention: bool,
    /// How many commits it was behind when it last said something.
    pub lag: Option<u64>,
    /// How far its clock is ahead of that of the one that answers; `None` of one that is not alive.
    pub clock_ahead: Option<SignedDuration>,
}

impl ReplicaFacts {
    /// What the row says at `now`.
    pub fn standing(&self, now: Timestamp) -> ReplicaStanding {
        let (state, since, needs_attention) = self.word(now);
        ReplicaStanding {
            state,
            since,
            needs_attention,
            lag: self.heard.map(Heard::lag),
            clock_ahead: self.alive(now).and_then(|it| it.clock_ahead(now)),
        }
    }

    fn word(&self, now: Timestamp) -> (&'static str, Option<Timestamp>, bool) {
        let joined = match self.membership {
            Membership::Invited(until) if until < now => {
                return ("invitation_over", Some(until), false);
            }
            Membership::Invited(until) => return ("invited", Some(until), false),
            Membership::Sealed(since) => return ("sealed", Some(since), false),
            Membership::Joined(since) => since,
        };
        // What stands between the fence and the seal is an act that was cut short, or is under way.
        if let Some(since) = self.fenced {
            return ("fenced", Some(since), true);
        }
        let is_new = !has_passed(joined, JOINING, now);
        let Some(heard) = self.heard else {
            return ("joining", Some(joined), !is_new);
        };
        let Some(alive) = self.alive(now) else {
            return ("silent", Some(heard.last(now)), true);
        };
        let differs = |ahead: SignedDuration| ahead.abs() > CLOCKS_AGREE;
        if alive.clock_ahead(now).is_some_and(differs) {
            return ("clock_differs", None, true);
        }
        match self.issues_until {
            Some(end) if now <= end => {}
            ended => return ("without_issuing_ca", ended.or(Some(joined)), !is_new),
        }
        if heard.lag() > BEHIND {
            return ("behind", None, true);
        }
        ("live", Some(joined), false)
    }

    fn alive(&self, now: Timestamp) -> Option<Heard> {
        self.heard.filter(|_| self.was_there_within(ALIVE, now))
    }

    /// Whether it takes part, and said something within this time. What was found at a start tells by its
    /// clock alone.
    pub fn was_there_within(&self, bound: Duration, now: Timestamp) -> bool {
        let found = |heard: Heard| now.duration_since(heard.at).abs() <= signed(bound);
        let lately = |heard: Heard| heard.ago.map_or_else(|| found(heard), |ago| ago <= bound);
        let takes_part = matches!(self.membership, Membership::Joined(_)) && self.fenced.is_none();
        takes_part && self.heard.is_some_and(lately)
    }

    /// Whether it is there and takes part.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.alive(now).is_some()
    }
}

impl Heard {
    /// Its heartbeat itself is a commit that it had not taken.
    fn lag(self) -> u64 {
        self.newest.saturating_sub(self.sequence)
    }

    /// What was found at a start has been on its way for a time that nobody knows.
    fn clock_ahead(self, now: Timestamp) -> Option<SignedDuration> {
        let ago = self.ago?;
        Some(self.at.duration_since(now) + signed(ago))
    }

    /// When that was, by the clock of the one that answers where it has heard so itself.
    fn last(self, now: Timestamp) -> Timestamp {
        let heard = self.ago.and_then(|ago| now.checked_sub(ago).ok());
        heard.unwrap_or(self.at)
    }
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests;
