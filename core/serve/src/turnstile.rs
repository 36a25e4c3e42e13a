//! Handshakes under way at one listener: when there are too many, one has to go.
//!
//! An honest handshake takes milliseconds, or a round trip where its peer is far away. So those go first
//! that have not said their hello, of these the source with the most, and of its own the oldest: a flood
//! of half-open connections does not keep an honest client out. The module `pending` decides.
//!
//! To accept costs less than to answer a hello. So no more peers are accepted than we get round to
//! answer: who waits for us would otherwise be taken for one that stalls.

mod pending;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::counters::Counters;
use crate::places::{Notice, Occupancy, Ticket};
use crate::source::Source;
use crate::tls::HandshakeError;
use pending::Pending;

/// Peers at once that were accepted and wait for us: enough to keep every core busy, and answered in
/// milliseconds.
const MAX_UNANSWERED: usize = 64;
/// And no more of all places than one in so many.
const SHARE_OF_THE_UNANSWERED: usize = 4;

/// Lets a bounded number of handshakes run at once. One source may have all that nobody else wants: a
/// whole site may be behind one address.
#[derive(Clone, Debug)]
pub struct Turnstile {
    pending: Arc<Mutex<Pending<Source, Arc<Notice>>>>,
    unanswered: Arc<Semaphore>,
    occupancy: Arc<Occupancy>,
}

impl Turnstile {
    /// At most `max` at once, at least one; told to whoever reads the counters.
    pub fn new(max: usize, counters: &Counters) -> Self {
        let pending = Pending::new(max);
        let occupancy = counters.handshakes.clone();
        occupancy.note_total(pending.total());
        let unanswered = pending.total().div_ceil(SHARE_OF_THE_UNANSWERED);
        Self {
            pending: Arc::new(Mutex::new(pending)),
            unanswered: Arc::new(Semaphore::new(unanswered.min(MAX_UNANSWERED))),
            occupancy,
        }
    }

    /// Waits until we have got round to most of those that were accepted. Cancel safe.
    pub async fn attention(&self) -> Attention {
        let permit = Arc::clone(&self.unanswered).acquire_owned().await;
        Attention {
            _permit: permit.expect("nobody closes it"),
        }
    }

    /// A place for one handshake with a peer at this address, to be taken as soon as it is accepted.
    pub fn enter(&self, attention: Attention, peer: IpAddr) -> Turn {
        let source = Source::of(peer);
        let notice = Arc::<Notice>::default();
        let mut pending = self.lock();
        let (ticket, displaced) = pending.enter(&source, Arc::clone(&notice));
        self.occupancy.note_open(pending.open());
        drop(pending);
        if let Some(displaced) = displaced {
            self.occupancy.note_displaced();
            displaced.tell();
        }
        Turn {
            attention: Some(attention),
            turnstile: self.clone(),
            source,
            ticket,
            notice,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Pending<Source, Arc<Notice>>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to accept one more peer, until it is that peer who has to say something.
#[derive(Debug)]
#[must_use = "dropping it lets another be accepted"]
pub struct Attention {
    _permit: OwnedSemaphorePermit,
}

/// A place among the handshakes under way.
#[derive(Debug)]
#[must_use = "dropping it gives the place back"]
pub struct Turn {
    attention: Option<Attention>,
    turnstile: Turnstile,
    source: Source,
    ticket: Ticket,
    notice: Arc<Notice>,
}

impl Turn {
    /// Goes to whoever knows when the peer has been answered.
    pub(crate) fn take_attention(&mut self) -> Option<Attention> {
        self.attention.take()
    }

    /// The peer has said its whole hello.
    pub(crate) fn greet(&self) {
        self.turnstile.lock().greet(&self.source, self.ticket);
    }

    /// Runs whatever comes before anything is proved, unless so many come after it that it has to go.
    ///
    /// # Errors
    /// [`HandshakeError::Evicted`].
    pub async fn run<T>(&self, work: impl Future<Output = T>) -> Result<T, HandshakeError> {
        self.notice.run(work).await.ok_or(HandshakeError::Evicted)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut pending = self.turnstile.lock();
        pending.leave(&self.source, self.ticket);
        self.turnstile.occupancy.note_open(pending.open());
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::time::Duration;

    use futures_util::FutureExt as _;
    use tokio::task::JoinHandle;
    use tokio::time::timeout;

    use super::*;

    fn turnstile(max: usize) -> Turnstile {
        Turnstile::new(max, &Counters::default())
    }

    /// One that has been answered.
    async fn enter(turnstile: &Turnstile, peer: &str) -> Turn {
        let attention = turnstile.attention().await;
        let mut turn = turnstile.enter(attention, peer.parse().unwrap());
        turn.take_attention();
        turn
    }

    fn stall(turn: Turn) -> JoinHandle<Result<(), HandshakeError>> {
        tokio::spawn(async move { turn.run(pending()).await })
    }

    #[tokio::test]
    async fn the_source_with_the_most_gives_way() {
        let turnstile = turnstile(3);
        let honest = enter(&turnstile, "192.0.2.1").await;
        let mut flood = Vec::new();
        for _ in 0..20 {
            flood.push(stall(enter(&turnstile, "192.0.2.2").await));
        }
        assert!(honest.run(ready(())).await.is_ok());
        // The last three of the flood are there, and no others.
        for evicted in flood.into_iter().take(17) {
            let evicted = timeout(Duration::from_secs(20), evicted).await.unwrap();
            assert!(matches!(evicted.unwrap(), Err(HandshakeError::Evicted)));
        }
    }

    #[tokio::test]
    async fn networks_of_one_site_are_one_source() {
        let turnstile = turnstile(2);
        let honest = enter(&turnstile, "2001:db8:0:100::1").await;
        for host in 0..100 {
            let neighbour = format!("2001:db8:0:{host:x}::1");
            drop(stall(enter(&turnstile, &neighbour).await));
        }
        assert!(honest.run(ready(())).await.is_ok());
    }

    #[tokio::test]
    async fn no_more_are_accepted_than_are_answered() {
        for (places, most) in [(1_024, 64), (32, 8), (1, 1)] {
            let turnstile = turnstile(places);
            let mut turns = Vec::new();
            while let Some(attention) = turnstile.attention().now_or_never() {
                turns.push(turnstile.enter(attention, IpAddr::from([192, 0, 2, 1])));
            }
            assert_eq!(turns.len(), most, "{places} places");
            // Answered, or gone: each lets another in.
            turns[0].take_attention();
            let next = turnstile.attention().now_or_never();
            turns.push(turnstile.enter(next.unwrap(), IpAddr::from([192, 0, 2, 1])));
            assert!(turnstile.attention().now_or_never().is_none());
            drop(turns.pop());
            assert!(turnstile.attention().now_or_never().is_some());
        }
    }
}
