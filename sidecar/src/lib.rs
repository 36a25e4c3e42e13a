//! The sidecar: holds the keys, serves them to attested local callers, terminates and originates
//! mTLS, and rotates certificates without dropping a connection.
//!
//! The way of a credential through this crate: `control` receives it, `install` verifies and
//! publishes it once into [`holdings`], and `proxy`, `sds` and `workload_api` serve from there.

pub mod app;
pub mod attest;
mod backoff;
pub mod clock;
pub mod config;
pub mod consumers;
pub mod control;
pub mod holdings;
pub mod identity;
pub mod install;
pub mod lifecycle;
pub mod local_api;
pub mod local_socket;
#[cfg(test)]
mod pki;
pub mod proxy;
pub mod sds;
pub mod state;
pub mod status;
pub mod telemetry;
pub mod workload_api;
