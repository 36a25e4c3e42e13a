//! The certification authorities: their keys, their slots, and the one place that signs.
//!
//! [`slots`] decides which CA may sign, as a pure machine; [`keys`] holds the keys; [`log`] makes
//! a to-be-signed certificate durable; [`sign`] signs what the log holds and nothing else;
//! [`bundle`] says which roots are trusted. Order: root → issuing CA → leaf, path lengths fixed.

pub(crate) mod authorities;
pub(crate) mod bundle;
mod der;
pub(crate) mod keys;
pub(crate) mod log;
pub(crate) mod sign;
pub(crate) mod slots;
