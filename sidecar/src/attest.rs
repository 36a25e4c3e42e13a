//! Who is asking: what this machine's kernel tells about a local caller.
//!
//! Everything here is *claimed* at the control plane: it narrows which of this node's identities a
//! caller may use and chooses none. An attribute that cannot be read is absent, so it satisfies
//! nothing.

pub mod caller;
mod holder;
mod ids;
mod peer;
pub mod program;
pub mod selectors;
pub mod socket_owner;
pub mod uid_alone;

pub use caller::{Admitted, Caller};
pub use peer::LocalPeer;
pub use program::Programs;
pub use selectors::{Ids, Process};
pub use socket_owner::{DiagnosticsError, OtherEnd};
