//! The certification authorities: their keys, their slots, and the one place that signs.
//!
//! [`slots`] decides which CA may sign, as a pure machine; [`keys`] holds the keys; [`log`] makes
//! a to-be-signed certificate durable; [`sign`] signs what the log holds and nothing else;
//! [`bundle`] says which roots are trusted. Order: root → intermediate, where there is one →
//! issuing CA → leaf, path lengths fixed. A root need not be ours: [`request`] asks it for an
//! intermediate, and [`import`] judges what it answered.

pub(crate) mod authorities;
pub(crate) mod bundle;
pub(crate) mod der;
pub(crate) mod entries;
pub(crate) mod import;
pub(crate) mod keys;
pub(crate) mod log;
pub(crate) mod request;
pub(crate) mod sign;
pub(crate) mod slots;
