//! A gRPC server with our limits.
//!
//! tonic's own server has one set of bounds for all of its connections, and asks a service in a task of
//! the call. Here each connection says what [it may hold](Capacity), by who is at its other end; it is
//! read in turns; and a head is handed to the service before the next is read, so that what
//! [`messages`](crate::messages) bounds is bounded from a call's first byte.

mod connection;
#[cfg(test)]
mod tests;
mod turns;

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::pin::pin;

use http::{Request, Response};
use tokio::task::JoinSet;
use tokio_stream::{Stream, StreamExt as _};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::service::Routes;
use tower::{Layer as _, Service};

pub use connection::{Capacity, Connection, Keepalive};

use crate::deadline::{Deadline, DeadlineLayer};
use crate::messages::{Bounded, MessageBounds};

/// What a call goes through: its message bounds, its deadline, then the service that its path names.
type Calls = Bounded<Deadline<Routes>>;

/// A server whose every bound is set, whose calls end at their `grpc-timeout`, and whose callers send
/// what its message bounds let them. Message sizes are set on each generated service
/// (`max_decoding_message_size`).
#[must_use = "it serves nothing before `serve`"]
pub struct Server {
    messages: MessageBounds,
    routes: Routes,
}

impl Server {
    /// A server of no service yet.
    pub fn new(messages: MessageBounds) -> Self {
        Self {
            messages,
            routes: Routes::default(),
        }
    }

    /// With one service more.
    pub fn add_service<S>(mut self, service: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        self.routes = self.routes.add_service(service);
        self
    }

    /// Serves connections until there are no more. Dropped, it ends all that are open.
    pub async fn serve<C: Connection>(self, connections: impl Stream<Item = io::Result<C>>) {
        self.serve_until(connections, std::future::pending()).await;
    }

    /// As [`serve`](Self::serve), until `stop`: from then on nothing new is accepted, and it ends when
    /// the calls under way have.
    pub async fn serve_until<C: Connection>(
        self,
        connections: impl Stream<Item = io::Result<C>>,
        stop: impl Future<Output = ()>,
    ) {
        let calls = self.calls();
        let ending = CancellationToken::new();
        let mut open = JoinSet::new();
        {
            let (mut connections, mut stop) = (pin!(connections), pin!(stop));
            loop {
                tokio::select! {
                    () = &mut stop => break,
                    Some(_) = open.join_next() => {}
                    next = connections.next() => match next {
                        Some(Ok(accepted)) => {
                            let ending = ending.clone().cancelled_owned();
                            open.spawn(connection::serve(accepted, calls.clone(), ending));
                        }
                        Some(Err(_)) => {}
                        None => break,
                    },
                }
            }
            // The listener closes here: who comes now is told so by the kernel, and not kept waiting.
        }
        ending.cancel();
        while open.join_next().await.is_some() {}
    }

    fn calls(self) -> Calls {
        self.messages
            .layer(DeadlineLayer.layer(self.routes.prepare()))
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}
