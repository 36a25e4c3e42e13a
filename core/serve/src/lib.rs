//! Hardened listeners, for every port and socket of both daemons.
//!
//! No other crate calls `bind` or `accept`. Each listener comes with a handshake deadline, limits
//! on connections, streams, headers and messages, and an accept loop that outlives running out
//! of descriptors. [`harden_process`] keeps keys out of core dumps and from other uids.

pub mod deadline;
pub mod grpc;
pub mod limits;
pub mod ops;
pub mod process;
pub mod tcp;
pub mod tls;
pub mod unix;

pub use process::{HardenError, harden_process};
pub use tcp::{BindError, bind_tcp};
