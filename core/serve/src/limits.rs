//! The named bounds of every listener.

use std::time::Duration;

use crate::grpc::{Capacity, Keepalive};

/// A TLS handshake is finished in this time or cut.
pub const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);
/// A connection whose greeting (HTTP/2 preface, HTTP/1 head) is not there in this time is cut.
pub const FIRST_BYTE_DEADLINE: Duration = Duration::from_secs(10);
/// HTTP/2 keepalive: a ping is sent after this much silence.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
/// A peer that does not answer a ping in this time is gone.
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections that the kernel holds for one listener until they are accepted: a fleet that comes
/// back at once is not turned away (the standard library asks for 128 on TCP).
pub const LISTEN_BACKLOG: i32 = 4_096;
/// What a peer over a network is asked: one that vanished, or stands still, is noticed within 8 s, for
/// operators are told within 10 s. An answer may wait behind much that is sent, so most of it is for that.
/// 10,000 that are idle cost 5,000 pings a second.
pub const KEEPALIVE_OF_REMOTES: Keepalive = Keepalive {
    interval: Duration::from_secs(2),
    timeout: Duration::from_secs(6),
};
/// What a peer on this machine is asked: the kernel tells of its end at once.
pub const KEEPALIVE_OF_LOCALS: Keepalive = Keepalive {
    interval: KEEPALIVE_INTERVAL,
    timeout: KEEPALIVE_TIMEOUT,
};
/// TCP keepalive: the first probe is sent after this much silence.
pub const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
/// TCP keepalive: between two probes.
pub const KEEPALIVE_PROBE_INTERVAL: Duration = Duration::from_secs(15);
/// TCP keepalive: so many unanswered probes end the connection.
pub const KEEPALIVE_PROBES: u32 = 4;
/// Handshakes under way at once on one listener; one more cuts one that has not said its hello, of the
/// source with the most the oldest. Three quarters are for those that have, where as many want them: at
/// 5,000 a second, which keep a core busy with signatures, each has 150 ms for its round trip.
pub const MAX_PENDING_HANDSHAKES: usize = 1_024;
/// Bytes below TLS of a peer in its handshake, where a chain may have 16 kB. Afterwards as many more of one
/// that is not recognised, beside what its calls say.
pub const MAX_HANDSHAKE_BYTES: usize = 24 * 1024;
/// Connections open at once on one TLS listener of peers that are not recognised: nodes on their
/// way to their first SVID, and strangers. Each costs about 43 kB, and can be made to cost twice that. One
/// call takes milliseconds, so it is enough for a fleet that attests at the rate that we can sign at.
pub const MAX_STRANGERS: usize = 512;
/// So long a connection of a peer that is not recognised lasts, whatever it does: an attestation
/// is one call of at most 10 s, after which the sidecar comes back with its SVID.
pub const STRANGER_LIFETIME: Duration = Duration::from_secs(30);
/// So many bytes a connection of a peer that is not recognised brings here; one more cuts it. HTTP/2
/// keeps whole frames for a byte of them: a path that the peer indexes is a piece of the frame that it
/// came in. An attestation is 16 KiB at most. A node that is not known any more fills a window with
/// its call before it reads why it is refused, and has to read that.
pub const MAX_STRANGER_BYTES: usize = CAPACITY_OF_STRANGERS.connection_window as usize + 32 * 1024;
/// Connections open at once on one listener.
pub const MAX_CONNECTIONS: usize = 16_384;
/// Connections open at once of one recognised identity; one more cuts the oldest. A node needs
/// one, and some more while a network that broke has not told us of the old ones.
pub const MAX_CONNECTIONS_PER_IDENTITY: usize = 8;
/// Connections open at once of one uid on a Unix listener: one user cannot take them all. A process
/// needs one, and a node has some hundred pods.
pub const MAX_CONNECTIONS_PER_UID: usize = 128;
/// Connections that one uid that may have nothing opens at once on a Unix socket, and so many a second
/// beyond them; one more is closed unread. All who may have nothing have 256 places, and come back
/// together when a sidecar starts, before it is known who may have what. One process connects 65,000
/// times a second.
pub const CONNECTS_OF_A_STRANGER: ConnectRate = ConnectRate {
    burst: 512,
    a_second: 100,
};
/// Connections that are ready and wait for the server to take them.
pub const MAX_READY_CONNECTIONS: usize = 64;
/// Calls under way at once of strangers: one for each connection that they may have, and again as many
/// from one address. A call of anybody holds about [`CALL_BYTES`], and [`FREE_REPLY_BYTES`] where its
/// caller reads no answers.
pub const CALLS_OF_STRANGERS: CallBounds = CallBounds {
    first: 4,
    each: MAX_STRANGERS,
    total: MAX_STRANGERS,
};
/// The same of peers with an identity: a node has one stream and a few calls, and again those of a
/// connection that broke and is not known to be gone.
pub const CALLS_OF_IDENTITIES: CallBounds = CallBounds {
    first: 8,
    each: CAPACITY_OF_IDENTITIES.streams as usize,
    total: MAX_CONNECTIONS / 2,
};
/// The same of local users: two Envoys with a stream for each of a thousand secrets, and more.
pub const CALLS_OF_USERS: CallBounds = CallBounds {
    first: 64,
    each: 2_752,
    total: MAX_CONNECTIONS,
};
/// The same of local users who may have nothing: all streams of an Envoy with a thousand secrets, while
/// it is not known yet who may have what.
pub const CALLS_OF_LOCAL_STRANGERS: CallBounds = CallBounds {
    first: 4,
    each: 1_280,
    total: 1_536,
};
/// What a call takes by itself, as measured, with what it has free of unread bytes and answers.
pub const CALL_BYTES: usize = 7 * 1024;
/// Bytes that one local user makes us hold: calls, unfinished messages, names, answers that are not read,
/// and what its connections index. The calls of two Envoys with a thousand secrets each are 14 MiB, and
/// their answers 6 MiB where all come at once.
pub const BYTES_OF_A_USER: usize = 20 * 1024 * 1024;
/// The same of all local users together who may have nothing, before it is known who may have what.
pub const BYTES_OF_LOCAL_STRANGERS: usize = 12 * 1024 * 1024;
const _: () = {
    assert!(2 * 1_000 * (CALL_BYTES + 3 * 1024) <= BYTES_OF_A_USER);
    assert!(CALLS_OF_LOCAL_STRANGERS.total * CALL_BYTES <= BYTES_OF_LOCAL_STRANGERS);
};
/// Their connections, where the configuration says nothing else: the pods of a full node.
pub const MAX_LOCAL_STRANGERS: usize = 256;
/// So much of a call of a local user waits without a charge, and as much of an answer: what an Envoy says
/// when it takes something.
pub const LOCAL_FREE_BYTES: usize = 512;
/// A frame of an answer to a peer on TCP that is no longer is paid for with the place of its call: no flood
/// keeps the answer to an attestation back.
pub const FREE_REPLY_BYTES: usize = 4 * 1024;
/// What HTTP/2 keeps for a name that a peer indexes: the frame that it came in.
pub const FRAME_BYTES: usize = 16 * 1024;
/// So many names a local connection indexes without a charge: an authority and a path.
pub const FREE_NAMES: u32 = 2;
/// No stream has a smaller window. A peer that has not read our settings yet sends 65,535 bytes of one (RFC
/// 9113 section 6.9.2), and h2 announces what was read of them once it is half of the window that is left:
/// of up to a third nothing. When the settings then make the window smaller than that third, the peer may send
/// nothing more, and h2 announces nothing before more has come: the stream stands still for ever.
const LEAST_STREAM_WINDOW: u32 = 65_535 / 3 + 1;
const _: () = {
    assert!(CAPACITY_OF_IDENTITIES.stream_window >= LEAST_STREAM_WINDOW);
    assert!(CAPACITY_OF_STRANGERS.stream_window >= LEAST_STREAM_WINDOW);
    assert!(CAPACITY_OF_ENVOYS.stream_window >= LEAST_STREAM_WINDOW);
    assert!(CAPACITY_OF_USERS.stream_window >= LEAST_STREAM_WINDOW);
};
/// What a connection of a peer with an identity holds. A node has one discovery stream and its calls,
/// and sends 64 kB a round trip.
pub const CAPACITY_OF_IDENTITIES: Capacity = Capacity {
    streams: 256,
    stream_window: 64 * 1024,
    connection_window: 128 * 1024,
    indexed_names: 16,
};
/// The same of a peer that is not recognised: an attestation is one call of 16 KiB, and a node that is
/// not known any more has some others refused at the same time.
pub const CAPACITY_OF_STRANGERS: Capacity = Capacity {
    streams: 16,
    stream_window: 32 * 1024,
    connection_window: 64 * 1024,
    indexed_names: 6,
};
/// The same of an Envoy on the sidecar's Unix socket, which has one connection and opens a stream for
/// each secret that it names: for 1 000 certificates one for each and, where each names the validation
/// context by itself, as many more; it acknowledges all of them in one breath. A round trip takes
/// microseconds there, so a stream needs little. With those that were reset they fill tables of
/// 2,048.
pub const CAPACITY_OF_ENVOYS: Capacity = Capacity {
    streams: 2_048 - MAX_KEPT_STREAMS,
    stream_window: 24 * 1024,
    connection_window: 1024 * 1024,
    indexed_names: 24,
};
/// The same of any other local connection. An Envoy that needs more streams opens more connections, and a
/// client that begins more before it has read how many it gets begins them again. With those that were
/// reset they fill tables of 128.
pub const CAPACITY_OF_USERS: Capacity = Capacity {
    streams: 128 - MAX_KEPT_STREAMS,
    stream_window: 24 * 1024,
    connection_window: 48 * 1024,
    indexed_names: 8,
};
/// The same of a local connection whose user may have nothing: a workload that calls each method. Its
/// tables have 64 places.
pub const CAPACITY_OF_LOCAL_STRANGERS: Capacity = Capacity {
    streams: 64 - MAX_RESET_BY_US,
    indexed_names: 4,
    ..CAPACITY_OF_USERS
};
/// Connections with [`CAPACITY_OF_ENVOYS`] that one registered user may have: its first. Each can be
/// made to cost 1.9 MB, most of it tables of streams.
pub const ENVOYS_OF_A_UID: usize = 4;
/// The same of all uids together that may have nothing, before it is known who may have what.
pub const ENVOYS_OF_STRANGERS: usize = 4;
/// Streams that a peer may reset before they were accepted (rapid reset).
pub const MAX_RESET_STREAMS: usize = 20;
/// Streams of one connection, from its beginning to its end, that we reset, as one too many or for a
/// mistake. A client that has not read our settings yet may open as many as it likes (RFC 9113 section
/// 6.5.2), and an Envoy opens as many on any connection as it gets on its first. One that is refused costs a
/// tenth of a call, and nothing is kept of it.
pub const MAX_REFUSED_STREAMS: usize = CAPACITY_OF_ENVOYS.streams as usize;
/// Streams that we end while their peer may still send are kept for a second, so many of a connection
/// (h2's default, which hyper does not set).
const MAX_RESET_BY_US: u32 = 50;
/// Streams that a connection keeps beside those that are open: these, and [`MAX_RESET_STREAMS`].
const MAX_KEPT_STREAMS: u32 = 70;
const _: () = assert!(MAX_KEPT_STREAMS as usize == MAX_RESET_BY_US as usize + MAX_RESET_STREAMS);
/// Connections open at once on the operations listener; a fifth of them for answers under way.
pub const MAX_OPS_CONNECTIONS: usize = 320;
/// Connections open at once on a Unix socket for operators, whose calls are few.
pub const MAX_OPERATOR_CONNECTIONS: usize = 256;
/// An exchange on the operations listener is finished in this time or cut.
pub const OPS_EXCHANGE_DEADLINE: Duration = Duration::from_secs(30);
/// Header bytes of one request, as HTTP/2 counts them (RFC 9113 section 6.5.2). Ours have a few hundred.
pub const MAX_HEADER_BYTES: u32 = 8 * 1024;
/// Largest gRPC message that any call takes in; each call sets what it can need.
pub const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;
/// A message is finished in this time after its first byte, a call with one message in this time
/// after it began; a long message has longer, see [`SLOWEST_BYTES_PER_SEC`].
pub const MESSAGE_DEADLINE: Duration = Duration::from_secs(10);
/// A message that comes more slowly than this is not waited for beyond [`MESSAGE_DEADLINE`].
pub const SLOWEST_BYTES_PER_SEC: u64 = 64 * 1024;
/// How often a listener looks whether its socket file is still at its place: so long, at most, nobody
/// finds a socket that somebody removed.
pub const SOCKET_LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// How long the accept loop waits after `accept` failed for want of descriptors or memory.
pub const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);
/// A listener warns at most this often of what lasts.
pub const WARNING_INTERVAL: Duration = Duration::from_secs(10);

/// How often somebody may connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectRate {
    /// At once.
    pub burst: u32,
    /// In each second beyond those.
    pub a_second: u32,
}

/// How many calls may be under way at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallBounds {
    /// Of each caller, whatever others do.
    pub first: usize,
    /// Of each caller beyond those.
    pub each: usize,
    /// Of all callers beyond those.
    pub total: usize,
}

impl CallBounds {
    /// The most that one caller can have.
    pub const fn of_one(&self) -> usize {
        self.first + self.each
    }
}

/// The bounds of a listener that tests set lower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// See [`HANDSHAKE_DEADLINE`].
    pub handshake_deadline: Duration,
    /// See [`FIRST_BYTE_DEADLINE`].
    pub first_byte_deadline: Duration,
    /// See [`MAX_PENDING_HANDSHAKES`].
    pub max_pending_handshakes: usize,
    /// See [`MAX_STRANGERS`]; on a Unix socket, of users who may have nothing.
    pub max_strangers: usize,
    /// See [`STRANGER_LIFETIME`].
    pub stranger_lifetime: Duration,
    /// See [`MAX_STRANGER_BYTES`].
    pub max_stranger_bytes: usize,
    /// See [`MAX_CONNECTIONS`].
    pub max_connections: usize,
    /// See [`MAX_CONNECTIONS_PER_IDENTITY`].
    pub max_connections_per_identity: usize,
    /// See [`MAX_CONNECTIONS_PER_UID`].
    pub max_connections_per_uid: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake_deadline: HANDSHAKE_DEADLINE,
            first_byte_deadline: FIRST_BYTE_DEADLINE,
            max_pending_handshakes: MAX_PENDING_HANDSHAKES,
            max_strangers: MAX_STRANGERS,
            stranger_lifetime: STRANGER_LIFETIME,
            max_stranger_bytes: MAX_STRANGER_BYTES,
            max_connections: MAX_CONNECTIONS,
            max_connections_per_identity: MAX_CONNECTIONS_PER_IDENTITY,
            max_connections_per_uid: MAX_CONNECTIONS_PER_UID,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Promised of whatever one local user does, and of all that may have nothing together.
    const PROMISED_BYTES: usize = 64 << 20;
    /// Measured: an idle connection, and a stream in the tables of HTTP/2, which double: its state, the
    /// head that came and the one that leaves. Of strangers, streams that a peer resets in the turn that
    /// opens them are left out: all strangers together have six calls a connection, not fourteen.
    const CONNECTION_BYTES: usize = 43 * 1024;
    const STREAM_BYTES: usize = 900;
    /// Measured: the allocator of the system takes up to a quarter more than it is asked for; a third where
    /// long answers are not read, which leave no room for many calls. What was measured as resident of an
    /// idle connection has it in it.
    const LOST: usize = 4;

    fn connections(count: usize, capacity: &Capacity, kept: u32) -> usize {
        let streams = (capacity.streams + kept).next_power_of_two() as usize;
        let names = capacity.indexed_names.min(FREE_NAMES) as usize;
        count * (CONNECTION_BYTES + with_lost(streams * STREAM_BYTES + names * FRAME_BYTES))
    }

    fn with_lost(bytes: usize) -> usize {
        bytes + bytes / LOST
    }

    #[test]
    fn sum_of_what_one_local_user_may_hold_is_bounded() {
        let others = MAX_CONNECTIONS_PER_UID - ENVOYS_OF_A_UID;
        let sum = connections(ENVOYS_OF_A_UID, &CAPACITY_OF_ENVOYS, MAX_KEPT_STREAMS)
            + connections(others, &CAPACITY_OF_USERS, MAX_KEPT_STREAMS)
            + with_lost(BYTES_OF_A_USER);
        assert!(sum <= PROMISED_BYTES, "{sum}");
    }

    #[test]
    fn sum_of_what_all_without_an_identity_may_hold_is_bounded() {
        let others = MAX_LOCAL_STRANGERS - ENVOYS_OF_STRANGERS;
        let sum = connections(ENVOYS_OF_STRANGERS, &CAPACITY_OF_ENVOYS, MAX_KEPT_STREAMS)
            + connections(others, &CAPACITY_OF_LOCAL_STRANGERS, MAX_RESET_BY_US)
            + with_lost(BYTES_OF_LOCAL_STRANGERS);
        assert!(sum <= PROMISED_BYTES, "{sum}");
    }
}
