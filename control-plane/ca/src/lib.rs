//! The certification authorities: their keys, their slots, and the one place that signs.
//!
//! [`slots`] decides which CA may sign, as a pure machine; [`key`] says what a key is; [`log`] makes
//! a to-be-signed certificate durable; [`sign`] signs what the log holds and nothing else;
//! [`bundle`] says which roots are trusted. Order: root → intermediate, where there is one →
//! issuing CA → leaf, path lengths fixed. A root need not be ours: [`request`] asks it for an
//! intermediate, and [`import`] judges what it answered.

pub mod asking;
pub mod authorities;
pub mod bundle;
pub mod der;
pub mod entries;
pub mod import;
pub mod key;
pub mod log;
pub mod request;
pub mod sign;
pub mod slots;
