//! The control plane: attests nodes, keeps registrations, signs SVIDs and streams them.
//!
//! The one-way flow of a credential: `attest` → `registry::authorize` → `issue` (template, lint)
//! → `ca` (log, sign) → `publish` → `discovery`. [`authority`] is the one place through which
//! state changes; the RPC handlers (`discovery`, `admin`) only convert and call it. [`app`] wires
//! the parts, `plane` is what they share while they run.

mod admin;
mod admission;
pub mod app;
mod attest;
pub mod authority;
mod backup;
mod ca;
pub mod cli;
pub mod clock;
pub mod config;
mod discovery;
#[doc(hidden)]
pub mod doors;
mod fleet;
#[cfg(test)]
mod footprint;
mod inventory;
mod issue;
pub mod lifecycle;
pub mod pipeline;
mod plane;
mod publish;
mod refused_writes;
mod registry;
mod store;
mod tables;
mod telemetry;
