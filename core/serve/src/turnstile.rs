//! Handshakes under way at one listener: when there are too many, the oldest goes.
//!
//! An honest handshake takes milliseconds, so the oldest are those that stall: a flood of
//! half-open connections does not keep an honest client out.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::limits::MAX_PENDING_HANDSHAKES;
use crate::tls::HandshakeError;

/// Lets a bounded number of handshakes run at once.
#[derive(Debug)]
pub struct Turnstile {
    max: usize,
    turns: Mutex<VecDeque<CancellationToken>>,
}

impl Default for Turnstile {
    fn default() -> Self {
        Self::new(MAX_PENDING_HANDSHAKES)
    }
}

impl Turnstile {
    /// At most `max` at once, at least one.
    pub fn new(max: usize) -> Self {
        Self {
            max: max.max(1),
            turns: Mutex::default(),
        }
    }

    /// Runs one handshake, unless so many come after it that it has to go.
    ///
    /// # Errors
    /// The handshake's own, and [`HandshakeError::Evicted`].
    pub async fn pass<T>(
        &self,
        handshake: impl Future<Output = Result<T, HandshakeError>>,
    ) -> Result<T, HandshakeError> {
        let turn = self.enter();
        // Ends the turn also where this future is dropped.
        let _over = turn.clone().drop_guard();
        let done = turn.run_until_cancelled(handshake).await;
        done.unwrap_or(Err(HandshakeError::Evicted))
    }

    /// A turn that is cancelled is over: it makes room, whoever cancelled it.
    fn enter(&self) -> CancellationToken {
        let turn = CancellationToken::new();
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        if turns.len() >= self.max {
            turns.retain(|turn| !turn.is_cancelled());
        }
        if turns.len() >= self.max
            && let Some(oldest) = turns.pop_front()
        {
            oldest.cancel();
        }
        turns.push_back(turn.clone());
        turn
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn the_oldest_goes_when_one_too_many_comes() {
        let turnstile = Arc::new(Turnstile::new(2));
        let stall = || {
            let turnstile = Arc::clone(&turnstile);
            tokio::spawn(async move { turnstile.pass(pending::<Result<(), _>>()).await })
        };
        let (oldest, next) = (stall(), stall());
        // On this one thread both have entered once this task was scheduled again.
        tokio::task::yield_now().await;
        assert!(turnstile.pass(ready(Ok(()))).await.is_ok());
        let evicted = timeout(Duration::from_secs(5), oldest).await.unwrap();
        assert!(matches!(evicted.unwrap(), Err(HandshakeError::Evicted)));
        assert!(!next.is_finished());
    }

    #[tokio::test]
    async fn finished_handshakes_evict_nobody() {
        let turnstile = Arc::new(Turnstile::new(2));
        let stalled = tokio::spawn({
            let turnstile = Arc::clone(&turnstile);
            async move { turnstile.pass(pending::<Result<(), _>>()).await }
        });
        tokio::task::yield_now().await;
        for _ in 0..100 {
            assert!(turnstile.pass(ready(Ok(()))).await.is_ok());
        }
        assert!(!stalled.is_finished());
    }
}
