//! What several control planes on one database cost, and how fast one follows the other: the real
//! binaries, a real PostgreSQL on the same disk, simulated sidecars over mTLS.
//!
//! All of it shares the cores of one machine, so what is compared is compared within a run: with SQLite,
//! with one control plane alone, with what PostgreSQL itself takes to tell of a commit.

pub mod change;
pub mod connections;
pub mod fleet;
pub mod issuing;
pub mod notice;
pub mod planes;
pub mod prepared;
pub mod reach;
pub mod storm;
