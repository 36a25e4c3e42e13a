//! From one address to another: what the end of a connection says of where it led, when the next one is
//! made, and what is told of it.

use std::time::Duration;

use tokio::time::Instant;

use super::Control;
use super::choice::End;
use super::departure::departure;
use super::error::ControlError;
use super::link_state::LeftAddress;
use super::session::{HELLO_DEADLINE, SessionError};
use crate::backoff::{Backoff, STEADY};
use crate::telemetry::Departure;

impl Control {
    /// The stream is open: the outage, if there was one, is over.
    pub(super) fn opened(&mut self) {
        self.opened_at = Some(Instant::now());
        self.metrics.connected(true);
        let Some(reached) = self.reached.clone() else {
            return;
        };
        let (address, unreached) = (reached.address, reached.unreached);
        let left = self.left.take().filter(|(other, _)| *other != address);
        let (left, reason) = left.unzip();
        if let Some(reason) = reason {
            self.metrics.failed_over(reason);
        }
        tracing::info!(
            address,
            unreached = unreached.len(),
            left,
            reason = reason.map(Departure::as_str),
            "control plane connected"
        );
        let now = self.clock.now();
        self.state
            .send_modify(|link| link.opened(address, unreached, now));
    }

    /// What is said of an address, should the next connection lead to another one.
    pub(super) fn leave(&mut self, reason: Departure, problem: String) {
        let Some(reached) = &self.reached else {
            return;
        };
        let (address, at) = (reached.address.clone(), self.clock.now());
        self.left = Some((address.clone(), reason));
        let left = LeftAddress {
            address,
            problem,
            at,
        };
        self.state.send_modify(|link| link.left = Some(left));
    }

    /// A stream is open elsewhere, and this one is left because nothing is heard on it.
    pub(super) fn leave_silent(&mut self, now: Instant) {
        self.leave(Departure::Silent, SessionError::Silent.to_string());
        let left = self.reached.take();
        let address = left.as_ref().map(|left| left.address.as_str());
        tracing::warn!(address, "control plane silent, another is taken");
        let lasted = self.opened_at.take().map(|at| now - at);
        let end = End {
            address: left.and_then(|left| self.addresses.place_of(&left.uri)),
            was_steady: lasted.is_some_and(|lasted| lasted >= STEADY),
            // It was counted when another was looked for.
            was_silent: false,
        };
        self.addresses.ended(end, now);
    }

    /// A new stream at the address that was reached is open in this time.
    pub(super) fn hello_deadline(&self, now: Instant) -> Duration {
        match self.may_find_better() {
            true => self.addresses.patience(now).hello,
            false => HELLO_DEADLINE,
        }
    }

    /// How long the next connection waits, and what the end of this one says of its address.
    pub(super) fn wait_after(&mut self, error: &ControlError, now: Instant) -> Duration {
        let lasted = self.opened_at.take().map(|at| now - at);
        let was_steady = lasted.is_some_and(|lasted| lasted >= STEADY);
        if was_steady {
            self.backoff.succeed();
        }
        let was_silent = departure(error) == Departure::Silent;
        let left = self.reached.take();
        let end = End {
            address: left.and_then(|left| self.addresses.place_of(&left.uri)),
            was_steady,
            was_silent,
        };
        let is_round_over = self.addresses.ended(end, now);
        self.was_unrecognised |= match error {
            ControlError::Session(SessionError::Unrecognised(_)) => true,
            ControlError::Dial(unreached) => unreached.is_refused(),
            _ => false,
        };
        self.is_unrecognised = is_round_over && std::mem::take(&mut self.was_unrecognised);
        let draw = self.draws.next();
        match error {
            ControlError::Session(SessionError::Replaced(_)) => self.backoff.replaced(draw),
            // Pings are out of step, so what they find needs no spreading.
            _ if !is_round_over && was_silent => Duration::ZERO,
            _ if !is_round_over => Backoff::elsewhere(draw),
            ControlError::Attest(source)
            | ControlError::Expired { source, .. }
            | ControlError::Unrecognised { source, .. } => match source.pushback() {
                Some(asked) => self.backoff.pushed_back(asked, draw),
                None => self.backoff.fail(draw),
            },
            _ => self.backoff.fail(draw),
        }
    }

    /// Whether another address did not fail lately.
    pub(super) fn may_find_better(&self) -> bool {
        let reached = self.reached.as_ref();
        reached.is_some_and(|it| self.addresses.has_better(&it.uri, Instant::now()))
    }
}
