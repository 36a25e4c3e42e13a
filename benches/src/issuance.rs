//! What an issuance costs the control plane: the real binary as a child process, simulated sidecars
//! over mTLS, and beside them the primitive that no control plane can be cheaper than.
//!
//! Wall time of a shared machine is noise; CPU time of the control plane is what is compared.

pub mod admin;
pub mod cost;
pub mod cpu;
pub mod durable;
pub mod fleet;
pub mod growth;
pub mod link;
pub mod openbao;
pub mod plane;
pub mod prepared;
pub mod primitive;
pub mod report;
pub mod sidecar;
pub mod stream;
pub mod transport;

/// Trust domain of every measurement.
pub const TRUST_DOMAIN: &str = "example.org";

/// The SPIFFE ID of a node by number.
pub fn node_id(node: usize) -> String {
    format!("spiffe://{TRUST_DOMAIN}/node/{node}")
}

/// The SPIFFE ID of a workload on a node.
pub fn workload_id(node: usize, workload: usize) -> String {
    format!("spiffe://{TRUST_DOMAIN}/ns/shop/node/{node}/workload/{workload}")
}
