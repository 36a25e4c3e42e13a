//! Handshakes under way at one listener: when there are too many, one has to go.
//!
//! An honest handshake takes milliseconds, so the oldest are those that stall, and the source with
//! the most of them is the one that floods. A flood of half-open connections does not keep an honest
//! client out.

use std::net::IpAddr;

use crate::counters::Counters;
use crate::places::{Bounds, Holder, Place, Places, Surplus};
use crate::source::Source;
use crate::tls::HandshakeError;

/// Lets a bounded number of handshakes run at once.
#[derive(Debug)]
pub struct Turnstile(Places);

/// One source may have all that nobody else wants: a whole site may be behind one address.
fn bounds(max: usize) -> Bounds {
    Bounds {
        total: max,
        each: max,
        surplus: Surplus::OldestGoes,
    }
}

impl Turnstile {
    /// At most `max` at once, at least one; told to whoever reads the counters.
    pub fn new(max: usize, counters: &Counters) -> Self {
        let occupancy = counters.handshakes.clone();
        Self(Places::observed(bounds(max), occupancy))
    }

    /// A place for one handshake with a peer at this address, to be taken as soon as it is accepted.
    pub fn enter(&self, peer: IpAddr) -> Turn {
        let place = self.0.take(Holder::Source(Source::of(peer)));
        Turn(place.expect("where the oldest goes nobody is refused"))
    }
}

/// A place among the handshakes under way.
#[derive(Debug)]
#[must_use = "dropping it gives the place back"]
pub struct Turn(Place);

impl Turn {
    /// Runs one handshake, unless so many come after it that it has to go.
    ///
    /// # Errors
    /// The handshake's own, and [`HandshakeError::Evicted`].
    pub async fn pass<T>(
        self,
        handshake: impl Future<Output = Result<T, HandshakeError>>,
    ) -> Result<T, HandshakeError> {
        self.run(handshake).await?
    }

    /// Runs whatever else comes before anything is proved, as [`pass`](Self::pass).
    ///
    /// # Errors
    /// [`HandshakeError::Evicted`].
    pub async fn run<T>(self, work: impl Future<Output = T>) -> Result<T, HandshakeError> {
        self.0.run(work).await.ok_or(HandshakeError::Evicted)
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    fn turnstile(max: usize) -> Turnstile {
        Turnstile::new(max, &Counters::default())
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn the_source_with_the_most_gives_way() {
        let turnstile = turnstile(3);
        let honest = turnstile.enter(address("192.0.2.1"));
        let stall = |turn: Turn| tokio::spawn(turn.pass(pending::<Result<(), _>>()));
        let flood = |_| stall(turnstile.enter(address("192.0.2.2")));
        let flood: Vec<_> = (0..20).map(flood).collect();
        assert!(honest.pass(ready(Ok(()))).await.is_ok());
        // The last three of the flood are there, and no others.
        for evicted in flood.into_iter().take(17) {
            let evicted = timeout(Duration::from_secs(20), evicted).await.unwrap();
            assert!(matches!(evicted.unwrap(), Err(HandshakeError::Evicted)));
        }
    }

    #[tokio::test]
    async fn addresses_of_one_network_are_one_source() {
        let turnstile = turnstile(2);
        let honest = turnstile.enter(address("2001:db8::1"));
        for host in 0..100 {
            let neighbour = format!("2001:db8:0:1::{host:x}");
            let turn = turnstile.enter(address(&neighbour));
            drop(tokio::spawn(turn.pass(pending::<Result<(), _>>())));
        }
        assert!(honest.pass(ready(Ok(()))).await.is_ok());
    }
}
