//! From a control plane that has many streams to one that has fewer, by the wish of the first.
//!
//! It is a wish, and an address that is trusted in nothing: it has to be one that is known, its server proves
//! itself as any other, and the stream that there is goes on until another is open there. A control plane that
//! wishes without end moves nobody more often than every few minutes.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use countersign_proto::convert::addresses::{parse_address, told};
use countersign_proto::mesh::ControlPlanes;
use http::Uri;
use tokio::time::{Instant, sleep};

use super::{DialledWith, Opened, Session, SessionError};
use crate::control::addresses::Reached;
use crate::control::dial::Link;
use crate::control::{Control, ReachedAddress};

/// A wish is followed at most this often, whether or not it came to something.
pub(crate) const MOVE_EVERY: Duration = Duration::from_secs(300);
/// Whoever follows a wish begins within this time: those that are asked together do not come together.
const SPREAD_OVER: Duration = Duration::from_secs(2);

/// A stream at another address.
#[derive(Debug)]
pub(in crate::control) struct Moved {
    reached: ReachedAddress,
    opened: Opened,
    dialled_with: DialledWith,
}

impl Moved {
    pub(in crate::control) fn link(&self) -> &Link {
        &self.opened.link
    }
}

/// Where the way to another address led, or why not.
type Arrival = Result<Box<Moved>, (Uri, String)>;
/// The way there.
pub(super) type Moving = Pin<Box<dyn Future<Output = Arrival> + Send>>;

/// Waits for its end, once; never where there is none.
pub(super) async fn arrival(moving: &mut Option<Moving>) -> Arrival {
    let Some(under_way) = moving else {
        return std::future::pending().await;
    };
    let arrived = under_way.await;
    *moving = None;
    arrived
}

impl Control {
    /// Takes what a control plane says of the addresses of all. The configured ones stay as they are.
    pub(super) fn told(&mut self, message: &ControlPlanes) {
        let told = told(message);
        if self.addresses.told(&told, || self.draws.next()) {
            tracing::debug!(count = told.len(), "addresses of control planes told");
        }
        self.installer.addresses_told(told, Instant::now());
    }

    /// The way to another address, where it may be tried.
    fn way_to(&mut self, address: &str, now: Instant) -> Option<Moving> {
        let uri = parse_address(address).ok()?;
        let is_there = { self.reached.as_ref() }
            .is_none_or(|it| self.addresses.place_of(&it.uri) == self.addresses.place_of(&uri));
        let is_soon = { self.moved_at }.is_some_and(|at| now - at < MOVE_EVERY);
        // By the operator's bundle one connection is judged, and this is another one.
        if is_there || is_soon || self.by_configured || !self.addresses.is_good(&uri, now) {
            return None;
        }
        self.moved_at = Some(now);
        let identity = Arc::clone(self.installer.node_identity());
        let tls = self.tls(Some(identity), Arc::clone(&self.trust));
        let (addresses, hello) = (self.addresses.clone(), self.hello());
        let (deadline, dialled_with) = (self.addresses.patience().hello, self.dialled_with());
        let wait = SPREAD_OVER.mul_f64(self.draws.next());
        Some(Box::pin(async move {
            sleep(wait).await;
            let opened = async {
                let reached = addresses.dial_one(&uri, &tls).await;
                let Reached { link, address, .. } = reached.map_err(|error| error.to_string())?;
                let opened = Opened::over(link, hello, deadline).await;
                Ok((address, opened.map_err(|error| error.to_string())?))
            };
            match opened.await {
                Ok((address, opened)) => Ok(Box::new(Moved {
                    reached: ReachedAddress {
                        uri,
                        address,
                        unreached: Vec::new(),
                    },
                    opened,
                    dialled_with,
                })),
                Err(problem) => Err((uri, problem)),
            }
        }))
    }

    /// Goes on with the stream that was opened elsewhere.
    pub(in crate::control) fn arrived(
        &mut self,
        moved: Moved,
    ) -> Result<Session<'_>, SessionError> {
        let Moved {
            reached,
            opened,
            dialled_with,
        } = moved;
        self.addresses.went_to(&reached.uri);
        self.reached = Some(reached);
        Session::begin(self, opened, dialled_with)
    }
}

impl Session<'_> {
    /// This control plane wishes that the sidecar goes to another one.
    pub(super) fn wishes(&mut self, address: &str) {
        if self.moving.is_none() && self.moved.is_none() {
            self.moving = self.control.way_to(address, Instant::now());
            let is_followed = self.moving.is_some();
            tracing::debug!(address, is_followed, "the control plane wishes to be left");
        }
    }

    /// A stream is open elsewhere, and this one is left once nothing is in flight; or it is not, and this one
    /// goes on.
    pub(super) fn arrives(&mut self, arrival: Arrival) {
        let control = &mut *self.control;
        let fits = arrival.and_then(|moved| {
            let stamp = moved.opened.stamp;
            let fits = stamp.map_or(Ok(()), |stamp| control.client.check(stamp));
            match fits {
                Ok(()) => Ok(moved),
                Err(older) => Err((moved.reached.uri.clone(), older.to_string())),
            }
        });
        match fits {
            Ok(moved) => self.moved = Some(moved),
            Err((address, problem)) => {
                control.addresses.passed_by(&address, Instant::now());
                tracing::info!(%address, problem, "not gone to another control plane");
            }
        }
    }
}
