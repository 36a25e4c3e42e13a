//! Handshakes under way at one listener: when there are too many, one has to go.
//!
//! An honest handshake takes milliseconds, or a round trip where its peer is far away. So those go first
//! that have not said their hello, of these the source with the most, and of its own the oldest: a flood
//! of half-open connections does not keep an honest client out. The module `pending` decides.

mod pending;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::counters::Counters;
use crate::places::{Notice, Occupancy, Ticket};
use crate::source::Source;
use crate::tls::HandshakeError;
use pending::Pending;

/// Lets a bounded number of handshakes run at once. One source may have all that nobody else wants: a
/// whole site may be behind one address.
#[derive(Clone, Debug)]
pub struct Turnstile {
    pending: Arc<Mutex<Pending<Source, Arc<Notice>>>>,
    occupancy: Arc<Occupancy>,
}

impl Turnstile {
    /// At most `max` at once, at least one; told to whoever reads the counters.
    pub fn new(max: usize, counters: &Counters) -> Self {
        let pending = Pending::new(max);
        let occupancy = counters.handshakes.clone();
        occupancy.note_total(pending.total());
        Self {
            pending: Arc::new(Mutex::new(pending)),
            occupancy,
        }
    }

    /// A place for one handshake with a peer at this address, to be taken as soon as it is accepted.
    pub fn enter(&self, peer: IpAddr) -> Turn {
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

/// A place among the handshakes under way.
#[derive(Debug)]
#[must_use = "dropping it gives the place back"]
pub struct Turn {
    turnstile: Turnstile,
    source: Source,
    ticket: Ticket,
    notice: Arc<Notice>,
}

impl Turn {
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

    use tokio::task::JoinHandle;
    use tokio::time::timeout;

    use super::*;

    fn turnstile(max: usize) -> Turnstile {
        Turnstile::new(max, &Counters::default())
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn stall(turn: Turn) -> JoinHandle<Result<(), HandshakeError>> {
        tokio::spawn(async move { turn.run(pending()).await })
    }

    #[tokio::test]
    async fn the_source_with_the_most_gives_way() {
        let turnstile = turnstile(3);
        let honest = turnstile.enter(address("192.0.2.1"));
        let flood = |_| stall(turnstile.enter(address("192.0.2.2")));
        let flood: Vec<_> = (0..20).map(flood).collect();
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
        let honest = turnstile.enter(address("2001:db8:0:100::1"));
        for host in 0..100 {
            let neighbour = format!("2001:db8:0:{host:x}::1");
            let turn = turnstile.enter(address(&neighbour));
            drop(stall(turn));
        }
        assert!(honest.run(ready(())).await.is_ok());
    }
}
