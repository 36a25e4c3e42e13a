//! Which address comes first, and when another is tried: decided here, without I/O.
//!
//! Every process draws an order of its own, so that a fleet spreads over the control planes, and so
//! does what comes from one that died: those that were there have each another next one. An address
//! that failed comes after all that did not, the longest ago first, until that is forgotten. One that a
//! control plane told has no part in that before it has led to the control plane: until then it comes after
//! those that have, and few of its kind come before one that failed. No address is ever left out.

use std::time::Duration;

use tokio::time::Instant;

use super::patience::Patience;

/// So long an address that failed comes after those that did not. It bounds how often a sidecar
/// comes back to one that answers and is of no use.
pub(super) const REMEMBERED: Duration = Duration::from_secs(60);

/// So long a silence makes patient. With all sidecars that a control plane takes it bounds what they cost where
/// every one of several is too slow: 16,384 that go from one to the other take a third of a core.
pub(super) const SILENCE_REMEMBERED: Duration = Duration::from_secs(30);

/// So many addresses that never led to the control plane come before those that did and failed: whoever
/// tells false ones costs a sidecar so many tries in a round, and no more.
pub(super) const UNPROVEN_FIRST: usize = 3;

/// How the connection to an address ended, or the try to get one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    /// Whose: none where no address is to blame, or all are.
    pub(super) address: Option<usize>,
    /// It had been open for long.
    pub(super) was_steady: bool,
    /// It answered nothing any more.
    pub(super) was_silent: bool,
}

/// What is known of the addresses, each by its place.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    /// The order of this process.
    own: Vec<usize>,
    failed_at: Vec<Option<Instant>>,
    /// Those that failed in this round.
    failed: Vec<bool>,
    /// Those that never led to the control plane, and are known by the word of one.
    unproven: Vec<bool>,
    /// Rounds in which every address failed.
    rounds: usize,
    /// Silences in a row.
    silences: u32,
    /// The newest of them.
    silent_at: Option<Instant>,
}

impl Choice {
    /// Of so many addresses; each draw is in `0.0..=1.0`.
    pub(super) fn new(count: usize, mut draw: impl FnMut() -> f64) -> Self {
        let mut own: Vec<_> = (0..count).collect();
        for last in (1..count).rev() {
            own.swap(last, drawn(draw(), last + 1));
        }
        Self {
            own,
            failed_at: vec![None; count],
            failed: vec![false; count],
            unproven: vec![false; count],
            rounds: 0,
            silences: 0,
            silent_at: None,
        }
    }

    /// All of them, in the order in which they are tried.
    pub(super) fn order(&self, now: Instant) -> Vec<usize> {
        let mut order = self.own.clone();
        // Where all failed together, those that began last begin first.
        order.rotate_left(self.turn());
        let mut first = UNPROVEN_FIRST;
        let mut rank = |at: usize| match (self.unproven[at], self.failed_lately(at, now)) {
            (false, None) => (0, None),
            (true, None) if first > 0 => {
                first -= 1;
                (1, None)
            }
            (false, failed) => (2, failed),
            (true, failed) => (3, failed),
        };
        let mut ranked: Vec<_> = order.into_iter().map(|at| (rank(at), at)).collect();
        ranked.sort_by_key(|(rank, _)| *rank);
        ranked.into_iter().map(|(_, at)| at).collect()
    }

    /// One that a control plane told has this place from now on.
    pub(super) fn learn(&mut self, place: usize, draw: f64) {
        let count = self.failed_at.len().max(place + 1);
        self.failed_at.resize(count, None);
        self.failed.resize(count, false);
        self.unproven.resize(count, false);
        (self.failed_at[place], self.failed[place]) = (None, false);
        self.unproven[place] = true;
        self.own.insert(drawn(draw, self.own.len() + 1), place);
    }

    /// This place is free.
    pub(super) fn forget(&mut self, place: usize) {
        self.own.retain(|at| *at != place);
    }

    /// It led to the control plane.
    pub(super) fn proved(&mut self, place: usize) {
        self.unproven[place] = false;
    }

    /// It comes first from now on, as far as it does not fail.
    pub(super) fn prefer(&mut self, place: usize) {
        let turn = self.turn();
        self.forget(place);
        self.own.insert(turn.min(self.own.len()), place);
    }

    /// Whose turn it is to be first.
    fn turn(&self) -> usize {
        self.rounds % self.own.len().max(1)
    }

    /// Whether one is known, and did not fail lately.
    pub(super) fn is_good(&self, place: usize, now: Instant) -> bool {
        self.own.contains(&place) && self.failed_lately(place, now).is_none()
    }

    /// One was tried in vain, whether or not another led to the control plane.
    pub(super) fn passed_by(&mut self, address: usize, now: Instant) {
        self.failed_at[address] = Some(now);
        self.failed[address] = true;
    }

    /// A connection ended, or none was had. Returns whether the round is over, because each address
    /// failed in it: else another is tried without a wait that grows.
    pub(super) fn ended(&mut self, end: End, now: Instant) -> bool {
        if end.was_steady {
            self.failed.fill(false);
        }
        if end.was_silent {
            self.was_silent(now);
        }
        if let Some(address) = end.address {
            self.passed_by(address, now);
        }
        // An unproven one that failed a moment ago is behind one that fails now, and may never be tried.
        let is_out = |at: &usize| {
            let is_behind = self.unproven[*at] && self.failed_lately(*at, now).is_some();
            self.failed[*at] || is_behind
        };
        let is_over = end.address.is_none() || self.own.iter().all(is_out);
        if is_over {
            self.failed.fill(false);
            self.rounds = self.rounds.wrapping_add(1);
        }
        is_over
    }

    /// Rounds in which every address failed.
    pub(super) fn rounds(&self) -> usize {
        self.rounds
    }

    /// Whether there is another address that did not fail lately.
    pub(super) fn has_better(&self, than: usize, now: Instant) -> bool {
        let others = self.own.iter().filter(|at| **at != than);
        others
            .into_iter()
            .any(|at| self.failed_lately(*at, now).is_none())
    }

    /// Whether there is any that did not fail lately.
    pub(super) fn has_good(&self, now: Instant) -> bool {
        let mut all = self.own.iter();
        all.any(|at| self.failed_lately(*at, now).is_none())
    }

    /// One was silent for longer than it may.
    pub(super) fn was_silent(&mut self, now: Instant) {
        self.silences = self.silences(now).saturating_add(1);
        self.silent_at = Some(now);
    }

    /// How long an address may be silent.
    pub(super) fn patience(&self, now: Instant) -> Patience {
        Patience::of(self.own.len(), self.silences(now))
    }

    /// Silences in a row. A stream that stays open ends no row: it is opened again all the time where a control
    /// plane has too much to do.
    fn silences(&self, now: Instant) -> u32 {
        let is_over = |at: Instant| now.saturating_duration_since(at) >= SILENCE_REMEMBERED;
        match self.silent_at {
            Some(at) if !is_over(at) => self.silences,
            _ => 0,
        }
    }

    fn failed_lately(&self, address: usize, now: Instant) -> Option<Instant> {
        self.failed_at[address].filter(|at| now.saturating_duration_since(*at) < REMEMBERED)
    }
}

/// A number below `count`.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a draw in 0.0..=1.0 times a few addresses"
)]
fn drawn(draw: f64, count: usize) -> usize {
    let number = (draw.clamp(0.0, 1.0) * count as f64) as usize;
    number.min(count - 1)
}

#[cfg(test)]
mod tests;
