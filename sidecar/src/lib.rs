//! The sidecar: holds the keys, serves them to attested local callers, terminates and originates
//! mTLS, and rotates certificates without dropping a connection.
//!
//! The way of a credential through this crate: `control` receives it, `install` verifies and
//! publishes it once into `holdings`, and `proxy`, `sds` and `workload_api` serve from there.
//!
//! What is public is what the program needs: read a configuration, run it, ask for the status of a
//! sidecar that runs.

mod app;
mod attest;
mod backoff;
mod clock;
mod config;
mod consumers;
mod control;
mod entropy;
mod evidence;
#[cfg(test)]
mod forks;
mod holdings;
mod identity;
mod install;
mod lifecycle;
mod local_api;
mod local_socket;
#[cfg(test)]
mod pki;
mod proxy;
#[cfg(test)]
mod reference;
mod sds;
#[doc(hidden)]
pub mod simulated;
mod state;
mod status;
mod telemetry;
mod workload_api;

pub use app::run;
#[doc(hidden)]
pub use attest::start_time;
pub use config::{Config, DEFAULT_FILE};
pub use status::{Report, fetch as fetch_status, render as render_status};
