//! Connections of the local socket, each with the process that opened it and the place that it has.
//!
//! Whether a caller may have an identity is judged before a byte of it is read, and again when the
//! rights of this node changed: at its next use, which is at the latest the next ping.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use countersign_serve::grpc::{Capacity, Connection};
use countersign_serve::limits::{FRAME_BYTES, FREE_NAMES};
use countersign_serve::messages::{Charge, Exhausted};
use countersign_serve::places::Holder;
use countersign_serve::unix::{UnixConnection, UnixPeer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::attest::LocalPeer;
use crate::local_api::{LocalApi, LocalCaller};

type Judging = Pin<Box<dyn Future<Output = Holder> + Send>>;

/// A connection whose process is known.
pub(super) struct LocalConnection<S> {
    connection: UnixConnection<S>,
    caller: LocalCaller,
    api: Arc<LocalApi>,
    /// The rights that its caller was judged by.
    judged: Option<u64>,
    judging: Option<Judging>,
    indexed: Indexed,
}

/// What is paid for the names that a connection has indexed.
#[derive(Debug, Default)]
struct Indexed {
    /// So many, paid for by whom these rights say.
    at: (u32, Option<u64>),
    charge: Option<Charge>,
}

impl<S> fmt::Debug for LocalConnection<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalConnection")
            .field("caller", &self.caller)
            .finish_non_exhaustive()
    }
}

impl<S> LocalConnection<S>
where
    UnixConnection<S>: Connection<Peer = UnixPeer>,
{
    /// Looks up the process behind a connection that was just accepted.
    pub(super) fn new(connection: UnixConnection<S>, api: &Arc<LocalApi>) -> Self {
        let caller = LocalCaller {
            peer: LocalPeer::now(connection.peer()),
            place: Arc::clone(connection.place()),
        };
        Self {
            connection,
            caller,
            api: Arc::clone(api),
            judged: None,
            judging: None,
            indexed: Indexed::default(),
        }
    }

    /// Has its caller pay for what it made HTTP/2 keep.
    fn pay(&mut self) -> Result<(), Exhausted> {
        let names = self.connection.indexed_names();
        let held = names.saturating_sub(FREE_NAMES) as usize * FRAME_BYTES;
        let account = || self.api.account_of(&self.caller);
        match &mut self.indexed.charge {
            None if held == 0 => {}
            Some(_) if self.indexed.at == (names, self.judged) => {}
            charge => {
                let charge = charge.get_or_insert_with(|| account().open());
                charge.move_to(&account())?;
                charge.resize(held)?;
            }
        }
        self.indexed.at = (names, self.judged);
        Ok(())
    }

    /// Ready once its caller has the place that the rights of now give it.
    fn poll_judged(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let rights = self.api.holdings.rights();
        if self.judged != Some(rights) {
            self.judged = Some(rights);
            self.judging = self.judge();
        }
        if let Some(judging) = &mut self.judging {
            self.connection.check(cx)?;
            let holder = ready!(judging.as_mut().poll(cx));
            self.judging = None;
            self.caller.place.change(&holder);
        }
        Poll::Ready(Ok(()))
    }

    /// Where the ids of the caller do not say everything, what its program says.
    fn judge(&self) -> Option<Judging> {
        let LocalCaller { peer, place } = &self.caller;
        let by_ids = self.api.by_ids(&peer.peer);
        if by_ids.asks_program {
            return Some(Box::pin(self.api.clone().holder_of(peer.clone())));
        }
        place.change(&by_ids.holder);
        None
    }
}

impl<S> Connection for LocalConnection<S>
where
    UnixConnection<S>: Connection<Peer = UnixPeer>,
{
    type Peer = LocalCaller;
    fn peer(&self) -> LocalCaller {
        self.caller.clone()
    }
    fn capacity(&self) -> Capacity {
        self.connection.capacity()
    }
}

impl<S> AsyncRead for LocalConnection<S>
where
    UnixConnection<S>: Connection<Peer = UnixPeer>,
{
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_judged(cx))?;
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.connection).poll_read(cx, buffer);
        if this.pay().is_err() {
            buffer.set_filled(before);
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        read
    }
}

impl<S> AsyncWrite for LocalConnection<S>
where
    UnixConnection<S>: Connection<Peer = UnixPeer>,
{
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write(cx, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_shutdown(cx)
    }
}
