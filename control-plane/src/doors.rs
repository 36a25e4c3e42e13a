//! Doors for the fuzz targets and the benches of this repository, which live outside of this crate.
//! No daemon and no command calls anything here.
//!
//! They open nothing that the types close: bytes and verdicts come out, and never a proof of
//! [`pipeline`](crate::pipeline).

pub mod readers;
pub mod steps;
