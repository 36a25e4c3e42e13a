//! Who is asking: what this machine's kernel tells about a local caller.
//!
//! Everything here is *claimed* at the control plane: it narrows which of this node's identities a
//! caller may use and chooses none. An attribute that cannot be read is absent, so it satisfies
//! nothing.

pub(crate) mod caller;
mod holder;
mod ids;
mod peer;
pub(crate) mod program;
pub(crate) mod selectors;
pub(crate) mod socket_owner;
pub(crate) mod uid_alone;

pub(crate) use caller::Caller;
pub(crate) use peer::LocalPeer;
pub(crate) use program::Programs;
pub(crate) use selectors::Ids;
#[doc(hidden)]
pub use selectors::start_time;
pub(crate) use socket_owner::{DiagnosticsError, OtherEnd};
