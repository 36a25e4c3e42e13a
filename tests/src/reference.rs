//! The pages of `docs/reference` that are read from the sources, or that no one crate knows.
//!
//! Keys and metrics are told by each daemon, in a test of its own crate.

mod environment;
mod errors;
mod exit_codes;
mod index;
mod log_events;
mod metrics;
mod rpc;
