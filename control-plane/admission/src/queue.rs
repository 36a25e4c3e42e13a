//! The fair queue, as a pure machine: it is told who comes, who is done and who goes.
//!
//! Between callers it goes round and round, one call each; of one caller the oldest goes first.
//! Calls of [`Class::First`] go before renewals, but a renewal that has waited for
//! [`PROMOTED_AFTER`] becomes one of them, so that it is not starved. A caller may fill at most as
//! many places as are free: however much one sends, there is room for another. Nobody waits while
//! there is room to run.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::Hash;
use std::time::{Duration, Instant};

use super::rate::Used;
use super::{
    Class, Counts, LATEST_RETRY, Limits, MAX_CALLERS, PROMOTED_AFTER, Reason, Refused,
    SOONEST_RETRY,
};

/// A table of callers smaller than this is not swept.
const SMALLEST_SWEEP: usize = 1_024;
/// How much of an older service time stays in the estimate when a new one comes: 7 of 8 parts.
const SMOOTHING: u32 = 8;
/// A longer gap between two ends says nothing about the service time.
const LONGEST_GAP: Duration = Duration::from_secs(1);

/// A place in the queue, in the order of arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

/// What became of a call.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Offer {
    /// It runs; [`Queue::finish`] ends it.
    Admitted,
    /// It waits.
    Queued(Ticket),
}

/// A call whose turn it is: it runs in the place of the one that ended.
#[derive(Debug)]
pub(crate) struct Turn<W> {
    pub(crate) waiter: W,
    /// As it came: promotion does not change it.
    pub(crate) class: Class,
    pub(crate) since: Instant,
}

/// Who runs and who waits. `W` is what stands for a waiting call.
#[derive(Debug)]
pub(crate) struct Queue<C, W> {
    limits: Limits,
    in_flight: usize,
    queued: usize,
    next_ticket: u64,
    callers: HashMap<C, Queued<W>>,
    /// Callers in turn, by rank. One that has nothing waiting any more is passed over.
    rings: [VecDeque<C>; 2],
    /// Renewals in the order of arrival, until they are promoted.
    ageing: BTreeMap<Ticket, (Instant, C)>,
    /// The table of callers is swept when it has grown to this.
    sweep_at: usize,
    ended: Option<Instant>,
    service_time: Duration,
}

/// The calls of one caller, by rank, and what it used of its rate.
#[derive(Debug)]
struct Queued<W> {
    waiting: [BTreeMap<Ticket, Turn<W>>; 2],
    in_ring: [bool; 2],
    used: Used,
}

impl<C: Clone + Eq + Hash, W> Queue<C, W> {
    /// An empty queue.
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            in_flight: 0,
            queued: 0,
            next_ticket: 0,
            callers: HashMap::new(),
            rings: Default::default(),
            ageing: BTreeMap::new(),
            sweep_at: SMALLEST_SWEEP,
            ended: None,
            service_time: Duration::ZERO,
        }
    }

    /// How many run and how many wait.
    pub(crate) fn occupancy(&self) -> (usize, usize) {
        (self.in_flight, self.queued)
    }

    /// How many callers are remembered.
    #[cfg(test)]
    pub(crate) fn callers_known(&self) -> usize {
        self.callers.len()
    }

    /// Lets a call run where there is room; `false` where it would have to wait, and may.
    ///
    /// # Errors
    /// The caller used up its rate or its share of the queue, or the queue is full.
    pub(crate) fn admit(&mut self, caller: &C, now: Instant) -> Result<bool, Refused> {
        let (limits, has_room) = (self.limits, self.in_flight < self.limits.max_in_flight);
        let free = limits.max_queued.saturating_sub(self.queued);
        let retry_after = self.drained_in();
        let state = self.caller(caller, now)?;
        let wait = limits.rate.wait(&state.used, now);
        if !wait.is_zero() {
            return Err(refused(Reason::Rate, wait));
        }
        if has_room {
            state.let_in(&limits, now);
            self.in_flight += 1;
            return Ok(true);
        }
        if free == 0 {
            return Err(refused(Reason::QueueFull, retry_after));
        }
        if state.count() >= limits.max_queued_per_caller.min(free) {
            return Err(refused(Reason::CallerQueueFull, retry_after));
        }
        Ok(false)
    }

    /// Lets a call run or wait.
    ///
    /// # Errors
    /// The caller used up its rate or its share of the queue, or the queue is full.
    pub(crate) fn offer(
        &mut self,
        caller: &C,
        class: Class,
        waiter: W,
        now: Instant,
    ) -> Result<Offer, Refused> {
        if self.admit(caller, now)? {
            return Ok(Offer::Admitted);
        }
        let (limits, ticket) = (self.limits, Ticket(self.next_ticket));
        let state = self.caller(caller, now)?;
        state.let_in(&limits, now);
        let turn = Turn {
            waiter,
            class,
            since: now,
        };
        state.waiting[rank(class)].insert(ticket, turn);
        self.next_ticket += 1;
        self.queued += 1;
        self.join(caller, rank(class));
        if class == Class::Renewal {
            self.ageing.insert(ticket, (now, caller.clone()));
        }
        Ok(Offer::Queued(ticket))
    }

    /// One that ran is done: whose turn it is now runs in its place.
    pub(crate) fn finish(&mut self, now: Instant) -> Option<Turn<W>> {
        self.measure(now);
        self.promote(now);
        let next = self.next(rank(Class::First));
        let next = next.or_else(|| self.next(rank(Class::Renewal)));
        if next.is_none() {
            self.in_flight = self.in_flight.saturating_sub(1);
        }
        next
    }

    /// One that waits goes away. Nothing happens where it does not wait any more.
    pub(crate) fn leave(&mut self, caller: &C, ticket: Ticket) {
        let Some(state) = self.callers.get_mut(caller) else {
            return;
        };
        let left = state
            .waiting
            .iter_mut()
            .any(|waiting| waiting.remove(&ticket).is_some());
        if left {
            self.queued -= 1;
            self.ageing.remove(&ticket);
        }
    }

    /// Counts one against the rate of a caller.
    pub(crate) fn count(&mut self, caller: &C, now: Instant) {
        let rate = self.limits.rate;
        // A caller for whom there is no room in the table is refused at its next call.
        if let Ok(state) = self.caller(caller, now) {
            rate.count(&mut state.used, now);
        }
    }

    /// When the calls that wait now will be done, as fast as it goes now.
    pub(crate) fn drained_in(&self) -> Duration {
        let waiting = u32::try_from(self.queued).unwrap_or(u32::MAX);
        self.service_time.saturating_mul(waiting)
    }

    fn measure(&mut self, now: Instant) {
        let gap = self.ended.replace(now).filter(|_| self.queued > 0);
        if let Some(last) = gap {
            let gap = now.saturating_duration_since(last).min(LONGEST_GAP);
            self.service_time = (self.service_time * (SMOOTHING - 1) + gap) / SMOOTHING;
        }
    }

    fn promote(&mut self, now: Instant) {
        let first = rank(Class::First);
        while let Some(oldest) = self.ageing.first_entry() {
            if now.saturating_duration_since(oldest.get().0) < PROMOTED_AFTER {
                return;
            }
            let (ticket, (_, caller)) = oldest.remove_entry();
            let state = self.callers.get_mut(&caller).expect("it has a call here");
            let waiting = &mut state.waiting[rank(Class::Renewal)];
            let turn = waiting.remove(&ticket).expect("it ages while it waits");
            state.waiting[first].insert(ticket, turn);
            self.join(&caller, first);
        }
    }

    fn next(&mut self, rank: usize) -> Option<Turn<W>> {
        while let Some(caller) = self.rings[rank].pop_front() {
            let state = self.callers.get_mut(&caller);
            let state = state.expect("a caller in turn is not forgotten");
            state.in_ring[rank] = false;
            let Some((ticket, turn)) = state.waiting[rank].pop_first() else {
                continue;
            };
            self.queued -= 1;
            self.ageing.remove(&ticket);
            if !state.waiting[rank].is_empty() {
                self.join(&caller, rank);
            }
            return Some(turn);
        }
        None
    }

    fn join(&mut self, caller: &C, rank: usize) {
        let state = self.callers.get_mut(caller).expect("it has a call here");
        if !std::mem::replace(&mut state.in_ring[rank], true) {
            self.rings[rank].push_back(caller.clone());
        }
    }

    fn caller(&mut self, caller: &C, now: Instant) -> Result<&mut Queued<W>, Refused> {
        if !self.callers.contains_key(caller) {
            self.make_room(now)?;
            self.callers.insert(caller.clone(), Queued::default());
        }
        Ok(self.callers.get_mut(caller).expect("it was inserted"))
    }

    fn make_room(&mut self, now: Instant) -> Result<(), Refused> {
        if self.callers.len() < self.sweep_at {
            return Ok(());
        }
        self.callers.retain(|_, state| !state.is_idle(now));
        self.sweep_at = (2 * self.callers.len()).clamp(SMALLEST_SWEEP, MAX_CALLERS);
        if self.callers.len() >= MAX_CALLERS {
            return Err(refused(Reason::QueueFull, self.drained_in()));
        }
        Ok(())
    }
}

impl<W> Default for Queued<W> {
    fn default() -> Self {
        Self {
            waiting: Default::default(),
            in_ring: [false; 2],
            used: Used::default(),
        }
    }
}

impl<W> Queued<W> {
    fn count(&self) -> usize {
        self.waiting.iter().map(BTreeMap::len).sum()
    }

    fn let_in(&mut self, limits: &Limits, now: Instant) {
        if limits.counts == Counts::Calls {
            limits.rate.count(&mut self.used, now);
        }
    }

    fn is_idle(&self, now: Instant) -> bool {
        let waits = self.waiting.iter().any(|waiting| !waiting.is_empty());
        !waits && self.in_ring == [false; 2] && self.used.is_clear(now)
    }
}

/// The place of a class among rings and queues.
fn rank(class: Class) -> usize {
    match class {
        Class::First => 0,
        Class::Renewal => 1,
    }
}

fn refused(reason: Reason, wait: Duration) -> Refused {
    Refused {
        reason,
        retry_after: wait.clamp(SOONEST_RETRY, LATEST_RETRY),
    }
}
