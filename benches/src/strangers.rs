//! What strangers cost: the real daemons under floods, from outside.
//!
//! A stranger has no certificate at the control plane's API, none at a listener of the sidecar, and no
//! registration on its socket. Beside each flood an honest caller is served, and what it waits is told.
//! Memory is what the kernel counts as resident, at its peak and once the flood is over.

pub mod caller;
pub mod child;
pub mod connection;
pub mod flood;
pub mod honest;
pub mod inbound;
pub mod plane;
pub mod raw;
pub mod requests;
pub mod socket;
pub mod stranger;
pub mod watched;
