//! Accepting connections without ever giving up.
//!
//! `accept` fails for reasons of one connection (it ended before it was accepted) and for want of
//! descriptors or memory. Neither may end a listener: the first is skipped, the second waited out.

use std::io;
use std::net::{SocketAddr, TcpStream as StdTcpStream};
use std::os::unix::net::UnixStream as StdStream;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with, acceptfrom_with};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::mpsc;
use tokio::task::coop::consume_budget;
use tokio::time::{Instant, sleep};
use tokio_stream::Stream;
use tokio_util::task::AbortOnDropHandle;

use crate::limits::{ACCEPT_BACKOFF, MAX_READY_CONNECTIONS, WARNING_INTERVAL};
use crate::tcp::tune;

/// The next connection, [tuned](crate::tcp::tune). Never gives up: a connection that ended before it
/// was accepted is skipped, and want of descriptors or memory is waited out. Cancel safe.
pub async fn accept_tcp(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    let (stream, peer) = persistently(|| listener.accept()).await;
    // A socket that is closed already says so when it is used.
    let _ = tune(&stream);
    (stream, peer)
}

/// The next connections, as many as wait already and at most so many: for connections that are judged
/// together, and of which few may be kept. The runtime does not know them yet, and none is tuned. Cancel
/// safe.
pub async fn accept_waiting(
    listener: &TcpListener,
    most: usize,
) -> Vec<(StdTcpStream, SocketAddr)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let accept = || -> io::Result<(StdTcpStream, SocketAddr)> {
        let (stream, peer) = acceptfrom_with(listener, flags)?;
        let peer = peer.ok_or(Errno::CONNABORTED)?;
        Ok((stream.into(), peer.try_into()?))
    };
    let first = async || match accept() {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            let (stream, peer) = listener.accept().await?;
            Ok((stream.into_std()?, peer))
        }
        accepted => accepted,
    };
    let mut accepted = vec![persistently(first).await];
    // What fails concerns one connection, or fails again when the next is waited for.
    let others = std::iter::from_fn(|| accept().ok());
    accepted.extend(others.take(most.saturating_sub(1)));
    accepted
}

/// The next connection of a Unix listener, as [`accept_tcp`]. What waits already is taken without the
/// runtime, which does not know it yet: that is most of what a connection costs, and not each is worth
/// it.
pub(crate) async fn accept_unix(listener: &UnixListener) -> StdStream {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let accept = async || {
        // Others get their turn.
        consume_budget().await;
        match accept_with(listener, flags) {
            Err(Errno::AGAIN) => listener.accept().await?.0.into_std(),
            accepted => Ok(accepted?.into()),
        }
    };
    persistently(accept).await
}

async fn persistently<T, F>(mut accept: impl FnMut() -> F) -> T
where
    F: Future<Output = io::Result<T>>,
{
    loop {
        match accept().await {
            Ok(accepted) => return accepted,
            Err(error) if concerns_one_connection(&error) => {}
            Err(error) => {
                if WARNED.is_due(Instant::now()) {
                    tracing::warn!(%error, "accept failed, waiting");
                }
                sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
}

/// When the process last warned, over all its listeners.
static WARNED: Throttle = Throttle::new(WARNING_INTERVAL);

/// Lets something happen once an interval.
#[derive(Debug)]
pub(crate) struct Throttle {
    interval: Duration,
    last: Mutex<Option<Instant>>,
}

impl Throttle {
    pub(crate) const fn new(interval: Duration) -> Self {
        Self {
            interval,
            last: Mutex::new(None),
        }
    }

    /// Whether it may happen now; then not again before the interval has passed.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let due = last.is_none_or(|last| now.saturating_duration_since(last) >= self.interval);
        if due {
            *last = Some(now);
        }
        due
    }
}

/// Linux hands errors that are pending on the new socket to `accept` (accept(2), "Error
/// handling").
fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::*;
    matches!(
        error.kind(),
        ConnectionAborted
            | ConnectionReset
            | ConnectionRefused
            | Interrupted
            | TimedOut
            | HostUnreachable
            | NetworkUnreachable
            | NetworkDown
    )
}

/// The connections that a task accepted and made ready. Dropping it ends the task, and with it
/// the listener and all handshakes under way.
#[derive(Debug)]
pub(crate) struct Ready<T> {
    connections: mpsc::Receiver<T>,
    _task: AbortOnDropHandle<()>,
}

impl<T: Send + 'static> Ready<T> {
    /// Runs `accept` in a task; what it sends is this stream.
    pub(crate) fn spawn<F>(accept: impl FnOnce(mpsc::Sender<T>) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (sender, connections) = mpsc::channel(MAX_READY_CONNECTIONS);
        Self {
            connections,
            _task: AbortOnDropHandle::new(tokio::spawn(accept(sender))),
        }
    }
}

impl<T> Stream for Ready<T> {
    type Item = io::Result<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.connections.poll_recv(cx).map(|next| next.map(Ok))
    }
}

#[cfg(test)]
mod tests;
