//! Which calls of a device are under way, and what that says about the device. Pure.
//!
//! A call that is overdue hangs, and so does the device, until that call or a later one returns.
//! A look (a probe) has a place beside the others, so that it is never kept away by them; and it
//! proves nothing, for a device may say who it is and yet not sign.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What is allowed at a time, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Most calls under way, each in a thread of its own; one look beside them.
    pub calls: usize,
    /// Most callers that wait for a place.
    pub waiting: usize,
    /// How long a caller waits for a place.
    pub place_wait: Duration,
    /// A call that has not returned in this time hangs.
    pub deadline: Duration,
    /// While the device hangs, one caller is let through after so long: a call that is lost for
    /// ever does not take the others with it.
    pub trial_after: Duration,
}

/// Why a caller is sent away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The device hangs.
    Hung,
    /// Every place is taken, and enough callers wait already.
    Full,
    /// The call broke off, or no thread was to be had for it.
    Broken,
}

/// What a caller does next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It has this number, and calls.
    Call(u64),
    /// It waits for a place.
    Wait,
}

/// The calls under way.
#[derive(Debug)]
pub(super) struct InFlight {
    bounds: Bounds,
    under_way: BTreeMap<u64, Call>,
    /// The number of the next call.
    next: u64,
    /// The newest call that returned; a look never counts.
    returned: Option<u64>,
    /// How many callers wait.
    pub(super) waiting: usize,
    /// When a caller was told that it may try a device that hangs. It comes within the deadline, or
    /// another one may.
    trial: Option<Instant>,
}

#[derive(Debug)]
struct Call {
    began: Instant,
    is_look: bool,
}

impl InFlight {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            under_way: BTreeMap::new(),
            next: 0,
            returned: None,
            waiting: 0,
            trial: None,
        }
    }

    pub(super) fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// Whether the device hangs, as far as its calls show.
    pub(super) fn is_hung(&self, now: Instant) -> bool {
        let overdue = |call: &Call| now.duration_since(call.began) >= self.bounds.deadline;
        let mut newest_first = self.under_way.iter().rev();
        let newest = newest_first.find(|(_, call)| overdue(call));
        let unanswered = newest.is_some_and(|(number, _)| Some(*number) > self.returned);
        let mut calls = self.under_way.values().filter(|call| !call.is_look);
        unanswered || (self.calls() >= self.bounds.calls && calls.all(overdue))
    }

    /// Whether a caller that comes soon is let through, or waits for a place. Of a device that
    /// hangs one caller at a time is told so.
    pub(super) fn admits(&mut self, now: Instant) -> Result<(), Refused> {
        let is_hung = self.is_hung(now);
        if is_hung && (self.is_trial_promised(now) || !self.is_time_for_a_trial(now)) {
            return Err(Refused::Hung);
        }
        if self.calls() >= self.bounds.calls && self.waiting >= self.bounds.waiting {
            return Err(Refused::Full);
        }
        if is_hung {
            self.trial = Some(now);
        }
        Ok(())
    }

    /// A caller comes, or looks again after it waited.
    pub(super) fn turn(&mut self, now: Instant) -> Result<Turn, Refused> {
        if self.is_hung(now) && !self.is_time_for_a_trial(now) {
            return Err(Refused::Hung);
        }
        if self.calls() < self.bounds.calls {
            return Ok(Turn::Call(self.begin(now, false)));
        }
        Ok(Turn::Wait)
    }

    /// A look begins, unless one is under way.
    pub(super) fn look(&mut self, now: Instant) -> Option<u64> {
        let is_free = !self.under_way.values().any(|call| call.is_look);
        is_free.then(|| self.begin(now, true))
    }

    /// A call returned, however late.
    pub(super) fn returned(&mut self, number: u64) {
        let call = self.under_way.remove(&number);
        if call.is_some_and(|call| !call.is_look) {
            self.returned = self.returned.max(Some(number));
        }
    }

    /// One more caller waits, where there is room.
    pub(super) fn queue(&mut self) -> Result<(), Refused> {
        if self.waiting >= self.bounds.waiting {
            return Err(Refused::Full);
        }
        self.waiting += 1;
        Ok(())
    }

    /// A caller waits no longer.
    pub(super) fn unqueue(&mut self) {
        self.waiting -= 1;
    }

    fn begin(&mut self, now: Instant, is_look: bool) -> u64 {
        let number = self.next;
        self.next += 1;
        let began = now;
        self.under_way.insert(number, Call { began, is_look });
        if !is_look {
            self.trial = None;
        }
        number
    }

    /// How many calls are under way, looks aside.
    pub(super) fn calls(&self) -> usize {
        let calls = self.under_way.values().filter(|call| !call.is_look);
        calls.count()
    }

    fn is_trial_promised(&self, now: Instant) -> bool {
        let is_fresh = |promised| now.duration_since(promised) < self.bounds.deadline;
        self.trial.is_some_and(is_fresh)
    }

    fn is_time_for_a_trial(&self, now: Instant) -> bool {
        let calls = self.under_way.values().filter(|call| !call.is_look);
        let newest = calls.map(|call| call.began).max();
        let is_long_ago = |began| now.duration_since(began) >= self.bounds.trial_after;
        self.calls() < self.bounds.calls && newest.is_none_or(is_long_ago)
    }
}
