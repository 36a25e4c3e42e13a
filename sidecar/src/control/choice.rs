//! Which address comes first, and when another is tried: decided here, without I/O.
//!
//! Every process draws an order of its own, so that a fleet spreads over the control planes, and so
//! does what comes from one that died: those that were there have each another next one. An address
//! that failed comes after all that did not, the longest ago first, until that is forgotten. No
//! address is ever left out.

use std::time::Duration;

use tokio::time::Instant;

use super::patience::Patience;

/// So long an address that failed comes after those that did not. It bounds how often a sidecar
/// comes back to one that answers and is of no use.
pub(super) const REMEMBERED: Duration = Duration::from_secs(60);

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

/// What is known of the addresses, each by its place in the configuration.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    /// The order of this process.
    own: Vec<usize>,
    failed_at: Vec<Option<Instant>>,
    /// Those that failed in this round.
    failed: Vec<bool>,
    /// Rounds in which every address failed.
    rounds: usize,
    /// Ends by silence in a row.
    silences: u32,
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
            rounds: 0,
            silences: 0,
        }
    }

    /// All of them, in the order in which they are tried.
    pub(super) fn order(&self, now: Instant) -> Vec<usize> {
        let mut order = self.own.clone();
        // Where all failed together, those that began last begin first.
        let count = order.len().max(1);
        order.rotate_left(self.rounds % count);
        order.sort_by_key(|at| self.failed_lately(*at, now));
        order
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
            self.silences = 0;
        }
        if end.was_silent {
            self.silences = self.silences.saturating_add(1);
        }
        if let Some(address) = end.address {
            self.passed_by(address, now);
        }
        let is_over = end.address.is_none() || self.failed.iter().all(|failed| *failed);
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

    /// How long an address may be silent.
    pub(super) fn patience(&self) -> Patience {
        Patience::of(self.own.len(), self.silences)
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
