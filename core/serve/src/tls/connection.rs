//! An accepted TLS connection, and for how long it may stay.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};
use tokio_rustls::server::TlsStream;

use super::{Metered, TlsPeer};
use crate::counters::Counters;
use crate::gathering::Gathering;
use crate::greeting::Greeting;
use crate::grpc::{Capacity, Connection, Keepalive};
use crate::indexing::Indexing;
use crate::limits::{
    CAPACITY_OF_IDENTITIES, CAPACITY_OF_STRANGERS, KEEPALIVE_OF_REMOTES, Limits,
    MAX_HANDSHAKE_BYTES,
};
use crate::places::Place;
use crate::wire::Wire;

/// For how long a connection may stay: while it has its place, and a stranger only for a while.
#[derive(Debug)]
pub(super) struct Tenure {
    place: Place,
    end: Option<End>,
}

/// When the time of a stranger is over, whatever it says until then, and how much more it may say.
#[derive(Debug)]
struct End {
    at: Pin<Box<Sleep>>,
    bytes: usize,
    counters: Arc<Counters>,
}

impl Tenure {
    pub(super) fn unlimited(place: Place) -> Self {
        Self { place, end: None }
    }

    pub(super) fn of_stranger(place: Place, limits: &Limits, counters: &Arc<Counters>) -> Self {
        let end = End {
            at: Box::pin(sleep(limits.stranger_lifetime)),
            bytes: limits.max_stranger_bytes,
            counters: Arc::clone(counters),
        };
        Self {
            place,
            end: Some(end),
        }
    }

    fn capacity(&self) -> Capacity {
        match self.end {
            None => CAPACITY_OF_IDENTITIES,
            Some(_) => CAPACITY_OF_STRANGERS,
        }
    }

    /// Fails once the connection has to end. Asked on every use: a peer that reads nothing keeps
    /// the other direction waiting for ever.
    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.place.poll_lost(cx).is_ready() {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let Some(end) = &mut self.end else {
            return Ok(());
        };
        if end.at.as_mut().poll(cx).is_pending() {
            return Ok(());
        }
        end.counters.overdue.increment();
        Err(io::ErrorKind::TimedOut.into())
    }

    /// Fails once a stranger has said more than it may.
    fn heard(&mut self, bytes: usize) -> io::Result<()> {
        let Some(end) = &mut self.end else {
            return Ok(());
        };
        let left = end.bytes.checked_sub(bytes);
        end.bytes = left.ok_or(io::ErrorKind::ConnectionAborted)?;
        Ok(())
    }
}

/// An accepted TLS connection with a first-byte deadline, whose answers are gathered.
#[derive(Debug)]
pub struct TlsConnection<W = TcpStream> {
    stream: Gathering<TlsStream<Metered<W>>>,
    peer: TlsPeer,
    greeting: Greeting,
    indexing: Indexing,
    tenure: Tenure,
    is_over: bool,
}

/// TLS around what a peer that is not recognised says may be such a part of it. By default that is
/// [`MAX_HANDSHAKE_BYTES`] again; a listener whose strangers may say more has more.
const TLS_SHARE: usize = 4;

impl<W: Wire> TlsConnection<W> {
    /// The first bytes are due within `limit`.
    pub(super) fn new(
        mut stream: TlsStream<Metered<W>>,
        peer: TlsPeer,
        tenure: Tenure,
        limit: Duration,
    ) -> Self {
        let metered = stream.get_mut().0;
        match &tenure.end {
            None => metered.unlimited(),
            Some(end) => metered.grant(MAX_HANDSHAKE_BYTES.max(end.bytes / TLS_SHARE)),
        }
        Self {
            stream: Gathering::new(stream),
            peer,
            greeting: Greeting::within(limit),
            indexing: Indexing::new(tenure.capacity().indexed_names),
            tenure,
            is_over: false,
        }
    }

    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.is_over {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let checked = self.tenure.check(cx);
        self.is_over = checked.is_err();
        checked
    }
}

impl<W: Wire> Connection for TlsConnection<W> {
    type Peer = TlsPeer;
    fn peer(&self) -> TlsPeer {
        self.peer.clone()
    }
    fn capacity(&self) -> Capacity {
        self.tenure.capacity()
    }

    fn keepalive(&self) -> Keepalive {
        KEEPALIVE_OF_REMOTES
    }
}

impl<W: Wire> AsyncRead for TlsConnection<W> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.check(cx)?;
        let before = buf.filled().len();
        let read = this.greeting.poll_read(Pin::new(&mut this.stream), cx, buf);
        let new = &buf.filled()[before..];
        // What came of TLS itself, and was no part of a call, is not granted again.
        this.stream.inner_mut().get_mut().0.grant(new.len());
        let heard = this.tenure.heard(new.len());
        let heard = heard.and_then(|()| this.indexing.read(new));
        if let Err(too_much) = heard {
            this.is_over = true;
            buf.set_filled(before);
            return Poll::Ready(Err(too_much));
        }
        read
    }
}

impl<W: Wire> AsyncWrite for TlsConnection<W> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.check(cx)?;
        Pin::new(&mut this.stream).poll_write(cx, buf)
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.check(cx)?;
        Pin::new(&mut this.stream).poll_flush(cx)
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.check(cx)?;
        Pin::new(&mut this.stream).poll_shutdown(cx)
    }
}
