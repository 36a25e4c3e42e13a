//! The control plane: attests nodes, keeps registrations, signs SVIDs and streams them.
//!
//! The one-way flow of a credential: `attest` → `registry::authorize` → `issue` (template, lint)
//! → `ca` (log, sign) → `publish` → `discovery`. [`authority`] is the one place through which
//! state changes; the RPC handlers (`discovery`, `admin`) only convert and call it.

pub mod authority;
