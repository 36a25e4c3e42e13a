//! The simulation: production code of both daemons, in one process whose entropy, clocks, threads and
//! network a seed decides, under acts of an operator and faults that it draws. After every event the
//! invariants are judged from outside.
//!
//! `make simulate SEED=7` is one run with its trace, `make simulate SEEDS=300` so many runs. Why it is
//! built so, and what of it is real: `docs/decisions/0026-one-seed-owns-the-machine.md`.

#![allow(
    clippy::print_stdout,
    reason = "a program for developers, whose output is the trace"
)]

mod clock;
mod consumer;
mod control_plane;
mod database;
mod defects;
mod disk;
pub mod machine;
mod model;
pub mod mutants;
mod network;
mod node;
mod operator;
pub mod runs;
mod trace;
mod world;

pub use defects::Defect;
pub use world::run;
