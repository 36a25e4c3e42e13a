//! The harness of the stories and of the demo: real processes, driven from outside.
//!
//! [`Mesh`] writes configuration files into a folder of its own and starts what they describe;
//! [`load`] drives traffic through it and counts what was lost. Nothing here knows the insides of
//! a daemon: it uses the command line, the sockets and the logs that every user has.

pub mod binaries;
pub mod browser;
pub mod clock;
pub mod collector;
pub mod command;
pub mod control_plane;
pub mod demo;
pub mod envoy;
pub mod fetch;
pub mod host;
pub mod load;
pub mod machine;
pub mod mesh;
pub mod node;
pub mod page;
pub mod process;
#[cfg(test)]
mod reference;
pub mod released;
#[cfg(test)]
mod rules;
pub mod sds;
pub mod sidecar;
pub mod wait;
pub mod workload;

pub use command::{Answer, Command};
pub use control_plane::ControlPlane;
pub use countersign_ports as ports;
pub use envoy::Envoy;
pub use host::Host;
pub use machine::{BareRoot, Machine};
pub use mesh::{Mesh, Registration};
pub use page::{Page, Shell};
pub use process::Process;
pub use sidecar::Sidecar;
