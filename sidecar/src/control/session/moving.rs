//! To another control plane, while the stream that there is goes on: because this one has fallen silent, or by
//! its wish, where it has many streams and the other has fewer.
//!
//! A wish is an address that is trusted in nothing: it has to be one that is known, and its server proves
//! itself as any other. A control plane that wishes without end moves nobody more often than every few minutes.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use countersign_model::address::HttpsAddress;
use countersign_proto::convert::addresses::told;
use countersign_proto::mesh::ControlPlanes;
use rustls::ClientConfig;
use tokio::time::{Instant, sleep};

use super::{DialledWith, Opened, Session, SessionError};
use crate::control::addresses::Reached;
use crate::control::dial::Link;
use crate::control::{Control, ReachedAddress};

/// A wish is followed at most this often, whether or not it came to something.
pub(crate) const MOVE_EVERY: Duration = Duration::from_secs(300);
/// Whoever follows a wish begins within this time: those that are asked together do not come together.
pub(in crate::control) const SPREAD_OVER: Duration = Duration::from_secs(2);

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

/// Where the way to another address led, or which were tried in vain and why.
type Arrival = Result<Box<Moved>, (Vec<HttpsAddress>, String)>;
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
        let uri = address.parse::<HttpsAddress>().ok()?;
        let is_there = { self.reached.as_ref() }
            .is_none_or(|it| self.addresses.place_of(&it.uri) == self.addresses.place_of(&uri));
        let is_soon = { self.moved_at }.is_some_and(|at| now - at < MOVE_EVERY);
        // By the operator's bundle one connection is judged, and this is another one.
        if is_there || is_soon || self.by_configured || !self.addresses.is_good(&uri, now) {
            return None;
        }
        self.moved_at = Some(now);
        let wait = SPREAD_OVER.mul_f64(self.draws.next());
        let (addresses, tls) = (self.addresses.clone(), self.tls_of_node());
        let reaching = async move {
            sleep(wait).await;
            let keepalive = addresses.patience(Instant::now()).keepalive;
            let reached = addresses.dial_one(&uri, &tls, keepalive).await;
            reached.map_err(|unreached| (vec![uri], unreached.to_string()))
        };
        Some(self.stream_at(reaching))
    }

    /// The way to any other address than the one that is in use.
    pub(super) fn way_elsewhere(&self) -> Option<Moving> {
        let here = self.reached.as_ref()?.uri.clone();
        // By the operator's bundle one connection is judged, and this is another one.
        if self.by_configured {
            return None;
        }
        let (mut addresses, tls) = (self.addresses.clone(), self.tls_of_node());
        let reaching = async move {
            let reached = addresses.dial_other(&here, &tls).await;
            reached.map_err(|unreached| (addresses.others(&here), unreached.to_string()))
        };
        Some(self.stream_at(reaching))
    }

    fn tls_of_node(&self) -> Arc<ClientConfig> {
        let identity = Arc::clone(self.installer.node_identity());
        self.tls(Some(identity), Arc::clone(&self.trust))
    }

    /// Opens a stream where that leads.
    fn stream_at<F>(&self, reaching: F) -> Moving
    where
        F: Future<Output = Result<Reached, (Vec<HttpsAddress>, String)>> + Send + 'static,
    {
        let (hello, dialled_with) = (self.hello(), self.dialled_with());
        let deadline = self.addresses.patience(Instant::now()).hello;
        Box::pin(async move {
            let Reached {
                link, uri, address, ..
            } = reaching.await?;
            match Opened::over(link, hello, deadline).await {
                Ok(opened) => Ok(Box::new(Moved {
                    reached: ReachedAddress {
                        uri,
                        address,
                        unreached: Vec::new(),
                    },
                    opened,
                    dialled_with,
                })),
                Err(problem) => Err((vec![uri], problem.to_string())),
            }
        })
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

    /// A stream is open elsewhere, and this one is left; or it is not, and this one goes on.
    pub(super) fn arrives(&mut self, arrival: Arrival) {
        let control = &mut *self.control;
        let fits = arrival.and_then(|moved| {
            let stamp = moved.opened.stamp;
            let fits = stamp.map_or(Ok(()), |stamp| control.client.check(stamp));
            match fits {
                Ok(()) => Ok(moved),
                Err(older) => Err((vec![moved.reached.uri.clone()], older.to_string())),
            }
        });
        match fits {
            Ok(moved) => self.moved = Some(moved),
            Err((tried, problem)) => {
                let now = Instant::now();
                let addresses = tried.iter();
                addresses.for_each(|it| control.addresses.passed_by(it, now));
                self.doubt = None;
                tracing::info!(problem, "not gone to another control plane");
            }
        }
    }
}
