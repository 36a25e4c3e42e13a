//! Which address of the control plane is taken: the first that answers and proves to be it.
//!
//! Configured addresses are tried in the order that `control/choice` says and what a name resolves
//! to in the resolver's, families in turn, each with a head start before the next begins
//! (`control/race`). So an address that drops packets, or one behind which another server listens,
//! costs its head start and nothing more.
//!
//! Beside those of the configuration there are those that a control plane told. They are tried the same way,
//! and whoever listens there has to prove the same: an address is trusted in nothing. What is told takes the
//! place of what was told before, and never that of what an operator wrote.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use countersign_model::address::{Host, HttpsAddress};
use countersign_proto::convert::addresses::MAX_ADDRESSES;
use countersign_serve::grpc::Keepalive;
use countersign_serve::wire::{Dial, Tcp};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::time::{Instant, timeout};

use super::choice::{Choice, End};
use super::dial::{DialError, Link, RESOLVE_DEADLINE, dial};
use super::patience::Patience;
use super::race::{Race, race};

/// Most addresses of one name that are tried.
pub(crate) const MAX_RESOLVED: usize = 8;
/// A configured address has this long before the next is tried beside it: each is another control
/// plane, so none is greeted twice.
pub(super) const HEAD_START_OF_CONFIGURED: Duration = Duration::from_millis(500);
/// What a name resolves to has this long. Longer than a browser would wait: who hurries makes a
/// control plane that is slow because it is busy greet everybody twice.
pub(super) const HEAD_START_OF_RESOLVED: Duration = Duration::from_secs(1);

/// What a name resolves to, some time.
pub(crate) type Resolution = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;
/// Resolves a name, for a port.
pub(crate) type Resolver = Arc<dyn Fn(String, u16) -> Resolution + Send + Sync>;

/// One address that did not lead to the control plane.
#[derive(Debug, thiserror::Error)]
#[error("{address}: {error}")]
pub(crate) struct Failure {
    /// As configured, with what the name resolved to.
    pub(crate) address: String,
    /// Why not.
    pub(crate) error: DialError,
}

/// No address led to the control plane.
#[derive(Debug)]
pub(crate) struct Unreached(pub Vec<Failure>);

impl Unreached {
    /// Whether somebody answered who did not prove to be our control plane.
    pub(crate) fn is_unproven(&self) -> bool {
        self.0.iter().any(|failure| failure.error.is_unproven())
    }

    /// Whether our control plane answered and did not recognise what we showed.
    pub(crate) fn is_refused(&self) -> bool {
        self.0.iter().any(|failure| failure.error.is_refused())
    }
}

impl std::error::Error for Unreached {}

impl fmt::Display for Unreached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let each: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&each.join("; "))
    }
}

/// A connection, and where it leads.
#[derive(Debug)]
pub(crate) struct Reached {
    /// It.
    pub(crate) link: Link,
    /// The address that was taken, as it is known.
    pub(crate) uri: HttpsAddress,
    /// The address that was taken.
    pub(crate) address: String,
    /// Those that were tried before it.
    pub(crate) failures: Vec<Failure>,
}

/// The addresses of the control plane.
#[derive(Clone)]
pub(crate) struct Addresses {
    /// Each has a place as long as it is known: first the configured ones.
    places: Vec<Option<HttpsAddress>>,
    configured: usize,
    resolver: Resolver,
    network: Arc<dyn Dial>,
    choice: Choice,
}

impl Addresses {
    /// At least one; `draw` says which comes first. The system resolves names.
    pub(crate) fn new(configured: Vec<HttpsAddress>, draw: impl FnMut() -> f64) -> Self {
        Self::resolved_by(configured, Arc::new(by_system), draw)
    }

    /// As [`Addresses::new`], with another resolver.
    pub(crate) fn resolved_by(
        configured: Vec<HttpsAddress>,
        resolver: Resolver,
        draw: impl FnMut() -> f64,
    ) -> Self {
        Self {
            choice: Choice::new(configured.len(), draw),
            configured: configured.len(),
            places: configured.into_iter().map(Some).collect(),
            resolver,
            network: Arc::new(Tcp),
        }
    }

    /// Reached by another network than the kernel's.
    pub(crate) fn over(self, network: Arc<dyn Dial>) -> Self {
        Self { network, ..self }
    }

    /// Takes what a control plane told, at most [`MAX_ADDRESSES`]; whether that was something else than before.
    pub(super) fn told(&mut self, told: &[HttpsAddress], mut draw: impl FnMut() -> f64) -> bool {
        let written = &self.places[..self.configured];
        let is_written = |it: &HttpsAddress| written.iter().flatten().any(|own| own == it);
        let told = told.iter().filter(|it| !is_written(it));
        let told: Vec<_> = told.take(MAX_ADDRESSES).cloned().collect();
        let mut has_changed = false;
        for place in self.configured..self.places.len() {
            let known = self.places[place].as_ref();
            if known.is_some_and(|known| !told.contains(known)) {
                self.places[place] = None;
                self.choice.forget(place);
                has_changed = true;
            }
        }
        for address in told {
            if self.place_of(&address).is_none() {
                let free = self.places.iter().position(Option::is_none);
                let place = free.unwrap_or(self.places.len());
                if free.is_none() {
                    self.places.push(None);
                }
                self.places[place] = Some(address);
                self.choice.learn(place, draw());
                has_changed = true;
            }
        }
        has_changed
    }

    /// Where an address is, if it is known.
    pub(super) fn place_of(&self, address: &HttpsAddress) -> Option<usize> {
        let mut places = self.places.iter();
        places.position(|it| it.as_ref() == Some(address))
    }

    /// A sidecar goes to this one by the wish of another control plane: it led there, and is tried first next
    /// time.
    pub(super) fn went_to(&mut self, address: &HttpsAddress) {
        if let Some(place) = self.place_of(address) {
            self.choice.proved(place);
            self.choice.prefer(place);
        }
    }

    /// One was tried in vain.
    pub(super) fn passed_by(&mut self, address: &HttpsAddress, now: Instant) {
        if let Some(place) = self.place_of(address) {
            self.choice.passed_by(place, now);
        }
    }

    /// Whether one is known, and did not fail lately.
    pub(super) fn is_good(&self, address: &HttpsAddress, now: Instant) -> bool {
        let place = self.place_of(address);
        place.is_some_and(|place| self.choice.is_good(place, now))
    }

    /// The connection ended, or there was none: [`Choice::ended`].
    pub(super) fn ended(&mut self, end: End, now: Instant) -> bool {
        self.choice.ended(end, now)
    }

    /// Whether another address than this one did not fail lately. This one may be told of no more.
    pub(super) fn has_better(&self, than: &HttpsAddress, now: Instant) -> bool {
        match self.place_of(than) {
            Some(place) => self.choice.has_better(place, now),
            None => self.choice.has_good(now),
        }
    }

    /// How long the control plane may be silent.
    pub(super) fn patience(&self, now: Instant) -> Patience {
        self.choice.patience(now)
    }

    /// One was silent for longer than it may.
    pub(super) fn was_silent(&mut self, now: Instant) {
        self.choice.was_silent(now);
    }

    /// All but this one.
    pub(super) fn others(&self, than: &HttpsAddress) -> Vec<HttpsAddress> {
        let known = self.places.iter().flatten();
        let is_other = |it: &&HttpsAddress| *it != than;
        known.filter(is_other).cloned().collect()
    }

    /// Connects to the first that answers and that `tls` accepts.
    ///
    /// # Errors
    /// Why each was not reached.
    pub(crate) async fn dial(
        &mut self,
        tls: &Arc<ClientConfig>,
        keepalive: Keepalive,
    ) -> Result<Reached, Unreached> {
        let order = self.choice.order(Instant::now());
        self.dial_in(order, tls, keepalive).await
    }

    /// The same without this address.
    ///
    /// # Errors
    /// Why each of the others was not reached.
    pub(super) async fn dial_other(
        &mut self,
        than: &HttpsAddress,
        tls: &Arc<ClientConfig>,
    ) -> Result<Reached, Unreached> {
        let (here, now) = (self.place_of(than), Instant::now());
        let mut order = self.choice.order(now);
        order.retain(|at| Some(*at) != here);
        let keepalive = self.patience(now).keepalive;
        self.dial_in(order, tls, keepalive).await
    }

    async fn dial_in(
        &mut self,
        order: Vec<usize>,
        tls: &Arc<ClientConfig>,
        keepalive: Keepalive,
    ) -> Result<Reached, Unreached> {
        let attempts = order
            .into_iter()
            .map(|at| (at, self.dial_one(self.at(at), tls, keepalive)));
        let race = race(HEAD_START_OF_CONFIGURED, attempts).await;
        let now = Instant::now();
        let failed = race.failed.iter().map(|(at, _)| at);
        for at in failed.chain(&race.overtaken) {
            self.choice.passed_by(*at, now);
        }
        let mut failures: Vec<_> = overtaken(&race, |at| self.at(*at).to_string()).collect();
        failures.extend(
            race.failed
                .into_iter()
                .flat_map(|(_, unreached)| unreached.0),
        );
        match race.won {
            Some((at, mut reached)) => {
                self.choice.proved(at);
                reached.failures.append(&mut failures);
                Ok(reached)
            }
            None => Err(Unreached(failures)),
        }
    }

    /// The address in a place of the order.
    fn at(&self, place: usize) -> &HttpsAddress {
        self.places[place]
            .as_ref()
            .expect("a known address has its place")
    }

    /// Resolves one of them and connects to the first that answers there.
    ///
    /// # Errors
    /// Why none does.
    pub(super) async fn dial_one(
        &self,
        uri: &HttpsAddress,
        tls: &Arc<ClientConfig>,
        keepalive: Keepalive,
    ) -> Result<Reached, Unreached> {
        let shown = uri.to_string();
        let resolved = self.resolve(uri).await;
        let (name, resolved) = resolved.map_err(|error| {
            let address = shown.clone();
            Unreached(vec![Failure { address, error }])
        })?;
        let is_name = matches!(name, ServerName::DnsName(_));
        let resolved = rotated(resolved, self.choice.rounds());
        let attempts = resolved.into_iter().map(|at| {
            let label = match is_name {
                true => format!("{shown} ({at})"),
                false => shown.clone(),
            };
            let network = Arc::clone(&self.network);
            let name = name.clone();
            (label, dial((network, at), name, Arc::clone(tls), keepalive))
        });
        let race = race(HEAD_START_OF_RESOLVED, attempts).await;
        let mut failures: Vec<_> = overtaken(&race, String::clone).collect();
        let failed = race.failed.into_iter();
        failures.extend(failed.map(|(address, error)| Failure { address, error }));
        match race.won {
            Some((address, link)) => Ok(Reached {
                link,
                uri: uri.clone(),
                address,
                failures,
            }),
            None => Err(Unreached(failures)),
        }
    }

    async fn resolve(
        &self,
        uri: &HttpsAddress,
    ) -> Result<(ServerName<'static>, Vec<SocketAddr>), DialError> {
        let port = uri.port();
        let host = match uri.host() {
            Host::Ip(ip) => {
                let at = SocketAddr::new(*ip, port);
                return Ok((ServerName::from(*ip), vec![at]));
            }
            Host::Name(name) => name,
        };
        let name =
            ServerName::try_from(host.clone()).map_err(|_| DialError::Address(uri.to_string()))?;
        let resolution = (self.resolver)(host.clone(), port);
        let resolved = timeout(RESOLVE_DEADLINE, resolution)
            .await
            .map_err(|_| DialError::Deadline("resolving the name"))?
            .map_err(DialError::Resolve)?;
        if resolved.is_empty() {
            let none = io::Error::new(io::ErrorKind::NotFound, "it has no address");
            return Err(DialError::Resolve(none));
        }
        Ok((name, families_in_turn(resolved)))
    }
}

impl fmt::Debug for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Addresses").field(&self.places).finish()
    }
}

/// Every address in text.
pub(crate) fn all_shown(configured: &[HttpsAddress]) -> String {
    let all: Vec<_> = configured.iter().map(ToString::to_string).collect();
    all.join(", ")
}

fn by_system(name: String, port: u16) -> Resolution {
    Box::pin(async move { Ok(tokio::net::lookup_host((name, port)).await?.collect()) })
}

fn overtaken<L, T, E>(
    race: &Race<L, T, E>,
    shown: impl Fn(&L) -> String,
) -> impl Iterator<Item = Failure> {
    race.overtaken.iter().map(move |label| Failure {
        address: shown(label),
        error: DialError::Overtaken,
    })
}

fn rotated<T>(mut list: Vec<T>, by: usize) -> Vec<T> {
    let by = by % list.len().max(1);
    list.rotate_left(by);
    list
}

/// At most [`MAX_RESOLVED`], in the resolver's order but for this: the first of the other family
/// comes second, and so on, because often one family as a whole leads nowhere.
fn families_in_turn(resolved: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first = resolved.first().is_some_and(SocketAddr::is_ipv6);
    let (same, other): (Vec<_>, Vec<_>) =
        resolved.into_iter().partition(|at| at.is_ipv6() == first);
    let (mut same, mut other) = (same.into_iter(), other.into_iter());
    let turns = std::iter::from_fn(|| {
        let two = [same.next(), other.next()];
        two.iter().any(Option::is_some).then_some(two)
    });
    turns.flatten().flatten().take(MAX_RESOLVED).collect()
}

#[cfg(test)]
mod tests;
