//! Whether the count of another control plane grows by the streams that are sent there.
//!
//! A few are sent first. Where the count tells of half of those that went, twice as many may go next, and so on:
//! after four times nothing is held up. Where it does not, nobody is sent there for a while: its count is a
//! mistake or a lie, and who acts by it empties every other one.

use std::time::Duration;

use tokio::time::Instant;

use super::{COMES_TRUE_WITHIN, WISHES_PER_SECOND};

/// So many are sent before the count has to tell of them.
pub(super) const SENT_FIRST: u64 = 32;
/// And so many where it always did: as many as are asked before a wish comes true and is counted.
const SENT_AT_MOST: u64 = WISHES_PER_SECOND as u64 * COMES_TRUE_WITHIN.as_secs();
/// Of fewer that went nothing is concluded: streams end and begin for other reasons too.
const CONCLUSIVE: u64 = 8;
/// Nobody is sent there for so long.
pub(super) const DOUBTED_FOR: Duration = Duration::from_secs(600);

/// What is sent on the strength of one count.
#[derive(Debug)]
pub(super) struct Trial {
    begun: Instant,
    /// The newest wish.
    last: Instant,
    /// The count when it began.
    said: u64,
    /// Wishes since.
    asked: u64,
    may_send: u64,
    doubted_until: Option<Instant>,
}

impl Trial {
    pub(super) fn begin(said: u64, now: Instant) -> Self {
        Self {
            begun: now,
            last: now,
            said,
            asked: 0,
            may_send: SENT_FIRST,
            doubted_until: None,
        }
    }

    /// Takes what the count is now, and how many that were asked in this trial went.
    pub(super) fn judge(&mut self, said: u64, gone: u64, now: Instant) {
        if let Some(until) = self.doubted_until {
            if now >= until {
                *self = Self::begin(said, now);
            }
            return;
        }
        let has_grown = said >= self.said + gone / 2;
        let is_over = now - self.last >= COMES_TRUE_WITHIN;
        let next = |may_send: u64| Self {
            may_send: may_send.min(SENT_AT_MOST),
            ..Self::begin(said, now)
        };
        match gone {
            CONCLUSIVE.. if has_grown && gone >= self.may_send / 2 => {
                *self = next(2 * self.may_send);
            }
            CONCLUSIVE.. if is_over && has_grown => *self = next(self.may_send),
            CONCLUSIVE.. if is_over => self.doubted_until = Some(now + DOUBTED_FOR),
            // Hardly anybody followed.
            _ if is_over && self.room() == 0 => *self = next(self.may_send),
            _ => {}
        }
    }

    /// How many more may be asked to go there.
    pub(super) fn room(&self) -> u64 {
        match self.doubted_until {
            Some(_) => 0,
            None => self.may_send.saturating_sub(self.asked),
        }
    }

    /// One was asked to go there.
    pub(super) fn asked(&mut self, now: Instant) {
        self.asked += 1;
        self.last = now;
    }

    /// Whether what was asked at this moment is of this trial.
    pub(super) fn has(&self, asked_at: Instant) -> bool {
        asked_at >= self.begun
    }

    /// Whether it says nothing any more.
    pub(super) fn is_forgotten(&self, now: Instant) -> bool {
        let is_doubted = self.doubted_until.is_some_and(|until| now < until);
        !is_doubted && now - self.last >= DOUBTED_FOR
    }
}
