//! Hardened listeners, for every port and socket of both daemons.
//!
//! No other crate calls `bind` or `accept`. Each listener comes with a handshake deadline, limits
//! on connections, streams, headers and messages, and an accept loop that outlives running out
//! of descriptors. [`harden_process`] keeps keys out of core dumps and from other uids; [`ownership`] and
//! [`secret_file`] refuse what other uids can exchange or read.

pub mod accept;
mod blocking;
pub mod bounded_file;
pub mod counters;
pub mod deadline;
pub mod descriptors;
pub mod durable_file;
mod gathering;
mod greeting;
pub mod grpc;
mod indexing;
pub mod limits;
pub mod messages;
pub mod ops;
pub mod ownership;
pub mod places;
pub mod process;
pub mod secret_file;
pub mod service_manager;
pub mod shutdown;
pub mod source;
pub mod tcp;
#[cfg(test)]
mod testing;
pub mod tls;
pub mod turnstile;
pub mod unix;
pub mod wire;

pub use blocking::blocking;
pub use counters::{Counters, ListenerSeries, Usage};
pub use descriptors::Descriptors;
#[doc(hidden)]
pub use indexing::{followed, indexes_too_much};
pub use limits::Limits;
pub use process::{HardenError, harden_process, raise_descriptor_limit};
pub use service_manager::ServiceManager;
pub use tcp::{BindError, bind_tcp};
