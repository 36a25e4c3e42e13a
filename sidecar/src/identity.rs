//! The credentials of this node and of its workloads: when to renew, and how.
//!
//! [`schedule`] decides, without a clock or a socket; [`renew`] keeps the keys that wait for their
//! chain and asks the control plane to certify them; [`keypair`] makes keys.

pub(crate) mod clock_skew;
pub(crate) mod keypair;
pub(crate) mod renew;
pub(crate) mod schedule;

pub(crate) use keypair::{KeyError, Keypair};
