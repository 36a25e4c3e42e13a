//! The named bounds of every listener.

use std::time::Duration;

/// A TLS handshake is finished in this time or cut.
pub const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);
/// A connection that never says its first byte (HTTP/2 preface, HTTP/1 head) is cut.
pub const FIRST_BYTE_DEADLINE: Duration = Duration::from_secs(10);
/// HTTP/2 keepalive: a ping is sent after this much silence.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
/// A peer that does not answer a ping in this time is gone.
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Handshakes under way at once on one listener.
pub const MAX_PENDING_HANDSHAKES: usize = 1_024;
/// Connections open at once on one listener.
pub const MAX_CONNECTIONS: usize = 16_384;
/// Streams open at once on one HTTP/2 connection (an Envoy opens one for each secret).
pub const MAX_CONCURRENT_STREAMS: u32 = 4_096;
/// Header bytes of one request.
pub const MAX_HEADER_BYTES: u32 = 16 * 1024;
/// Largest gRPC message taken in (an Envoy's node alone is about 61 kB).
pub const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;
/// How long the accept loop waits after `accept` failed for want of descriptors or memory.
pub const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);
