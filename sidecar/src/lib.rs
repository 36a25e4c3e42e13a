//! The sidecar: holds the keys, serves them to attested local callers, terminates and originates
//! mTLS, and rotates certificates without dropping a connection.
//!
//! The way of a credential through this crate: `control` receives it, `install` verifies and
//! publishes it once into [`holdings`], and `proxy`, `sds` and `workload_api` serve from there.

pub mod consumers;
pub mod holdings;
