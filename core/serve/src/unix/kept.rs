//! A bound socket that stays at its place: a file that vanished, or was replaced, is bound anew.
//!
//! Whoever is connected notices nothing, and who waits to be accepted is.

use std::collections::VecDeque;
use std::io;
use std::os::unix::net::UnixStream;

use tokio::net::UnixListener;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use super::bind::BoundAt;
use crate::accept::{Throttle, accept_unix};
use crate::limits::{SOCKET_LOOK_INTERVAL, WARNING_INTERVAL};

/// A socket file that is listened on. Dropping it removes the file.
#[derive(Debug)]
pub struct UnixSocket {
    listener: UnixListener,
    at: BoundAt,
    look: Interval,
    warnings: Throttle,
    /// Who had connected to the file that vanished.
    waiting: VecDeque<UnixStream>,
}

impl UnixSocket {
    pub(super) fn new(at: BoundAt, listener: UnixListener) -> Self {
        let mut look = interval(SOCKET_LOOK_INTERVAL);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            listener,
            at,
            look,
            warnings: Throttle::new(WARNING_INTERVAL),
            waiting: VecDeque::new(),
        }
    }

    /// The next connection, which does not block; meanwhile the file is kept at its place. Cancel safe.
    pub(crate) async fn accept(&mut self) -> UnixStream {
        loop {
            if let Some(stream) = self.waiting.pop_front() {
                return stream;
            }
            tokio::select! {
                stream = accept_unix(&self.listener) => return stream,
                _ = self.look.tick() => self.keep(),
            }
        }
    }

    fn keep(&mut self) {
        if self.at.is_ours() {
            return;
        }
        let moved = self.at.take_again().and_then(|(at, listener)| {
            let old = std::mem::replace(&mut self.listener, UnixListener::from_std(listener)?);
            self.at = at;
            self.take_over(old)
        });
        let path = self.at.path.display();
        match moved {
            Ok(()) => tracing::warn!(%path, "the socket file was gone: bound anew"),
            Err(error) if self.warnings.is_due(Instant::now()) => {
                tracing::error!(%path, %error, "the socket file is gone and cannot be bound anew");
            }
            Err(_) => {}
        }
    }

    /// Accepts who connected before the file vanished: the backlog is all there can be.
    fn take_over(&mut self, old: UnixListener) -> io::Result<()> {
        let old = old.into_std()?;
        while let Ok((stream, _)) = old.accept() {
            stream.set_nonblocking(true)?;
            self.waiting.push_back(stream);
        }
        Ok(())
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        self.at.clear();
    }
}

#[cfg(test)]
mod tests;
