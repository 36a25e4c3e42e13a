//! The control plane: attests nodes, keeps registrations, signs SVIDs and streams them.
//!
//! The one-way flow of a credential goes through crates of their own: `attest` → `registry` (authorize)
//! → `issue` (template, lint) → `ca` (log, sign), and from there to the streams: `fleet` (hub) →
//! [`api`]. [`pipeline`] shows it in five lines. [`countersign_authority`] is the one place through
//! which state changes; the RPC handlers of [`api`] only convert and call it. [`app`] wires the parts,
//! `plane` is what they share while they run.

pub mod api;
pub mod app;
pub mod clock;
pub mod config;
pub mod entropy;
pub mod lifecycle;
mod ops;
pub mod pipeline;
mod plane;
#[cfg(test)]
mod reference;
mod spread;
mod telemetry;
