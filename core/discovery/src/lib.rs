//! The xDS session as a pure state machine.
//!
//! A server core over (type, name, version, bytes) with three thin dialects: state of the world,
//! delta and unary; and a separate, small delta client. No clock, no socket, no wire type: the
//! RPC handler converts, feeds requests in and sends what [`poll`](DeltaSession::poll) returns.
//!
//! Rules that hold for every dialect: a version is the hash of content; what the consumer already
//! holds is not resent; a name that cannot be given harms that name alone; absence is not
//! removal; a NACK is recorded, redacted, and answered with nothing until content changes.

pub mod client;
pub mod delta;
pub mod nack;
pub mod resource;
mod server;
pub mod state_of_the_world;
mod subscription;
mod topic;
pub mod unary;

pub use client::{Change, ClientError, DeltaClient, Received};
pub use delta::{DeltaRequest, DeltaResponse, DeltaSession};
pub use nack::{Nack, NackReason};
pub use resource::{Resource, Stamp, Standing, View};
pub use state_of_the_world::{StateRequest, StateResponse, StateSession};
pub use unary::{Fetched, fetch};

/// What a request told the server about its consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The consumer subscribed to a name.
    Subscribed {
        /// Type URL of the resource.
        type_url: String,
        /// Its name.
        name: String,
    },
    /// The consumer gave a name up.
    Unsubscribed {
        /// Type URL of the resource.
        type_url: String,
        /// Its name.
        name: String,
    },
    /// The consumer installed this version.
    Acknowledged {
        /// Type URL of the resource.
        type_url: String,
        /// Its name.
        name: String,
        /// The version that it installed.
        version: String,
    },
    /// The consumer refused a response; it goes on with what it had.
    Refused {
        /// Type URL of the resources.
        type_url: String,
        /// The names in the refused response.
        names: Vec<String>,
        /// Why, cut to what may leave the process.
        nack: Nack,
    },
}

/// A request that ends the stream: its sender breaks the protocol or a bound.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// More names than one stream may ask for.
    #[error("a stream may subscribe to at most {limit} names")]
    TooManyNames {
        /// The bound.
        limit: usize,
    },
    /// Names that take more memory together than one stream may.
    #[error("the names of a stream take at most {limit} bytes")]
    TooManyBytes {
        /// The bound.
        limit: usize,
    },
    /// A name longer than any name of ours.
    #[error("a resource name is at most {limit} bytes long")]
    NameTooLong {
        /// The bound.
        limit: usize,
    },
    /// A type that this server does not serve on this stream.
    #[error("this stream does not serve that resource type")]
    UnknownType,
}

/// What one stream may ask for.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most names over all types.
    pub names: usize,
    /// Longest name in bytes.
    pub name_bytes: usize,
    /// Most bytes that the names of the stream take in memory before another is taken in.
    pub bytes: usize,
    /// Responses of one stream that may be unanswered before the session waits for an ACK.
    pub unanswered: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            names: 16_384,
            name_bytes: 2_304,
            bytes: 16 << 20,
            unanswered: 64,
        }
    }
}

#[cfg(test)]
mod convergence;
#[cfg(test)]
mod testing;
