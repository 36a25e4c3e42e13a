//! Unix sockets with peer credentials.

mod authority;
mod bind;
mod dial;
mod kept;
mod obstacle;
mod pace;
mod user_places;

use std::io;
use std::os::unix::net::UnixStream as StdStream;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use countersign_telemetry::{Principal, peer_line};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::Stream;

use crate::accept::Ready;
use crate::counters::Counters;
use crate::greeting::Greeting;
use crate::grpc::{Capacity, Connection};
use crate::indexing::Indexing;
use crate::limits::{CONNECTS_OF_A_STRANGER, Limits};
use crate::places::{Holder, Standing};

use authority::AuthorityMender;
pub use bind::{SocketModes, bind_unix};
pub use dial::{NotASocket, Squatter, Trust, dial};
pub use kept::UnixSocket;
pub use obstacle::Obstacle;
use pace::Pace;
pub use user_places::{UserPlace, UserPlaces};

/// What becomes of the bytes of one connection that arrive in such pieces: the door of a fuzz
/// target.
#[doc(hidden)]
pub fn mended(mut bytes: Vec<u8>, piece: std::num::NonZeroUsize) -> Vec<u8> {
    let mut mender = AuthorityMender::default();
    let pieces = bytes.chunks_mut(piece.get());
    pieces.for_each(|piece| mender.mend(piece));
    bytes
}

/// Who opened a Unix connection, by the kernel's word at `connect`: the `ConnectInfo` of a
/// [`UnixConnection`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnixPeer {
    /// Effective user id.
    pub uid: u32,
    /// Effective group id.
    pub gid: u32,
    /// Process id, where the kernel tells it.
    pub pid: Option<u32>,
}

impl UnixPeer {
    /// Whom the kernel names at the other end.
    ///
    /// # Errors
    /// The kernel's.
    pub fn of(stream: &UnixStream) -> io::Result<Self> {
        let credentials = stream.peer_cred()?;
        Ok(Self {
            uid: credentials.uid(),
            gid: credentials.gid(),
            // A process outside of our PID namespace is 0 here.
            pid: credentials
                .pid()
                .and_then(|pid| u32::try_from(pid).ok())
                .filter(|pid| *pid != 0),
        })
    }
}

/// The connections of a Unix listener for operators, for [`Server::serve`](crate::grpc::Server::serve). `admit` is
/// asked before anything is read; a connection that it refuses is closed and takes no place.
pub fn incoming(
    socket: UnixSocket,
    admit: impl Fn(&UnixPeer) -> bool + Send + 'static,
    limits: Limits,
    counters: Arc<Counters>,
) -> impl Stream<Item = io::Result<UnixConnection>> + Send + 'static {
    let places = UserPlaces::of_operators(&limits, &counters);
    let holder = move |peer: &UnixPeer| admit(peer).then_some(Holder::Uid(peer.uid));
    Ready::spawn(move |ready| Listener::run(socket, holder, (places, limits, counters), ready))
}

/// The connections of a Unix listener to which everybody comes: `holder` says whom one is counted for,
/// before anything is read, and the [place](UnixConnection::place) of a connection may change later.
pub fn incoming_by_holder(
    socket: UnixSocket,
    holder: impl Fn(&UnixPeer) -> Holder + Send + 'static,
    (places, limits, counters): (UserPlaces, Limits, Arc<Counters>),
) -> impl Stream<Item = io::Result<UnixConnection>> + Send + 'static {
    let holder = move |peer: &UnixPeer| Some(holder(peer));
    Ready::spawn(move |ready| Listener::run(socket, holder, (places, limits, counters), ready))
}

/// What an accept loop has.
struct Listener {
    places: UserPlaces,
    /// How often users without an identity come.
    pace: Pace,
    limits: Limits,
    counters: Arc<Counters>,
}

impl Listener {
    async fn run(
        mut socket: UnixSocket,
        holder: impl Fn(&UnixPeer) -> Option<Holder> + Send + 'static,
        (places, limits, counters): (UserPlaces, Limits, Arc<Counters>),
        ready: mpsc::Sender<UnixConnection>,
    ) {
        let mut listener = Self {
            places,
            pace: Pace::new(CONNECTS_OF_A_STRANGER),
            limits,
            counters,
        };
        loop {
            let stream = socket.accept().await;
            let Some((stream, peer)) = caller(stream) else {
                listener.counters.gone.increment();
                continue;
            };
            let Some(place) = listener.place(&peer, holder(&peer)) else {
                listener.counters.refused.increment();
                continue;
            };
            let connection = UnixConnection::over((stream, peer), place, &listener.limits);
            if ready.send(connection).await.is_err() {
                return; // the server is gone
            }
            listener.counters.served.increment();
        }
    }

    fn place(&mut self, peer: &UnixPeer, holder: Option<Holder>) -> Option<Arc<UserPlace>> {
        let Some(holder) = holder else {
            tracing::debug!(uid = peer.uid, pid = peer.pid, "connection refused");
            return None;
        };
        if holder.standing() == Standing::Stranger {
            if !self.pace.admits(peer.uid, Instant::now()) {
                tell_hurry(peer);
                return None;
            }
            self.tell_crowd(peer);
        }
        let place = self.places.take(peer.uid, holder.clone());
        if place.is_none() {
            self.tell_refused(peer, &holder);
        }
        place
    }

    fn tell_crowd(&self, peer: &UnixPeer) {
        let strangers = &self.counters.strangers;
        if strangers.is_full() {
            peer_line!(
                WARN,
                Principal::uid(peer.uid),
                uid = peer.uid,
                pid = peer.pid,
                most = strangers.total(),
                "users without an identity fill their places; the oldest go"
            );
        }
    }

    /// A user can repeat that at will, and hides nobody else by it.
    fn tell_refused(&self, peer: &UnixPeer, holder: &Holder) {
        peer_line!(
            WARN,
            Principal::uid(peer.uid),
            uid = peer.uid,
            pid = peer.pid,
            counted_for = ?holder,
            most_of_one = self.limits.max_connections_per_uid,
            most = self.limits.max_connections,
            "connection refused: whom it is counted for has too many open, or too few are left"
        );
    }
}

fn tell_hurry(peer: &UnixPeer) {
    peer_line!(
        WARN,
        Principal::uid(peer.uid),
        uid = peer.uid,
        pid = peer.pid,
        most_a_second = CONNECTS_OF_A_STRANGER.a_second,
        "connection refused: its user has no identity and connects too often"
    );
}

/// Whoever connected and has not hung up since. Only then the runtime gets to know the connection: it
/// costs more than a `connect`, and the accept loop is to be faster than who connects without end.
fn caller(stream: StdStream) -> Option<(UnixStream, UnixPeer)> {
    if has_hung_up(&stream) {
        return None;
    }
    let stream = UnixStream::from_std(stream).ok()?;
    let peer = UnixPeer::of(&stream).ok()?;
    Some((stream, peer))
}

fn has_hung_up(stream: &StdStream) -> bool {
    // That it hung up is told unasked.
    let mut events = [PollFd::new(stream, PollFlags::empty())];
    poll(&mut events, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}

/// An accepted Unix connection with a first-byte deadline. What carries it is the kernel's socket, or
/// memory in a simulation.
#[derive(Debug)]
pub struct UnixConnection<S = UnixStream> {
    stream: S,
    peer: UnixPeer,
    greeting: Greeting,
    authority: AuthorityMender,
    indexing: Indexing,
    place: Arc<UserPlace>,
}

impl<S> UnixConnection<S> {
    /// One that was accepted now, from this peer, and has this place.
    #[doc(hidden)]
    pub fn over((stream, peer): (S, UnixPeer), place: Arc<UserPlace>, limits: &Limits) -> Self {
        Self {
            stream,
            peer,
            greeting: Greeting::within(limits.first_byte_deadline),
            authority: AuthorityMender::default(),
            indexing: Indexing::new(place.capacity().indexed_names),
            place,
        }
    }

    /// Its place, which the daemon may change.
    pub fn place(&self) -> &Arc<UserPlace> {
        &self.place
    }

    /// How many names its peer has indexed: each may keep a frame of [`FRAME_BYTES`](crate::limits::FRAME_BYTES).
    pub fn indexed_names(&self) -> u32 {
        self.indexing.names()
    }

    /// Fails once its place is lost. Reading and writing ask by themselves.
    ///
    /// # Errors
    /// The place is somebody else's.
    pub fn check(&self, cx: &Context<'_>) -> io::Result<()> {
        self.place.check(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Connection for UnixConnection<S> {
    type Peer = UnixPeer;
    fn peer(&self) -> UnixPeer {
        self.peer
    }
    fn capacity(&self) -> Capacity {
        self.place.capacity()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for UnixConnection<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.check(cx)?;
        let before = buf.filled().len();
        let read = this.greeting.poll_read(Pin::new(&mut this.stream), cx, buf);
        this.authority.mend(&mut buf.filled_mut()[before..]);
        if let Err(too_much) = this.indexing.read(&buf.filled()[before..]) {
            buf.set_filled(before);
            return Poll::Ready(Err(too_much));
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for UnixConnection<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
