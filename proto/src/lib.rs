//! What goes over the wire: our protos, the code generated from them, and the conversions
//! between wire types and the types of `core/`.
//!
//! Wire types never pass an RPC handler: a handler converts first, and what does not convert is
//! refused there with a reason.

#[allow(
    missing_docs,
    unused_qualifications,
    unreachable_pub,
    clippy::all,
    clippy::restriction,
    clippy::pedantic,
    reason = "generated code; the protos carry the documentation"
)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/mod.rs"));
}

/// The operator's API (`admin.proto`).
pub use generated::countersign::admin::v1 as admin;
/// Entries of the issuance log (`entry.proto`).
pub use generated::countersign::log::v1 as log;
/// The sidecar API (`mesh.proto`).
pub use generated::countersign::v1 as mesh;
/// The reduced xDS discovery messages.
pub use generated::envoy::service::discovery::v3 as discovery;
/// Envoy's secret discovery service over those messages.
pub use generated::envoy::service::secret::v3 as sds;
/// The SPIFFE Workload API, X.509 profile.
pub mod workload {
    pub use super::generated::{
        X509BundlesRequest, X509BundlesResponse, X509svid, X509svidRequest, X509svidResponse,
        spiffe_workload_api_client, spiffe_workload_api_server,
    };
}

pub mod codec;
pub mod convert;
mod redacted;
mod whole;

pub use convert::ConvertError;

/// Every file of our protos, as a `FileDescriptorSet`.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The protocol version that this build speaks.
pub const PROTOCOL_VERSION: u32 = 1;
/// The capability of a sidecar that goes to another control plane where the one it is at wishes so.
pub const REBALANCE: &str = "rebalance";
/// Type URL of an entitlement resource.
pub const ENTITLEMENT_TYPE: &str = "type.googleapis.com/countersign.v1.Entitlement";
/// Trailer of a RESOURCE_EXHAUSTED: milliseconds after which the call is worth trying again (gRPC
/// proposal A6, server pushback).
pub const RETRY_PUSHBACK: &str = "grpc-retry-pushback-ms";
/// Metadata key of the stable code of a refusal by the admin API.
pub const CODE_KEY: &str = "countersign-code";
/// Metadata key of what mends such a refusal.
pub const REMEDY_KEY: &str = "countersign-remedy";
/// Name of all consumers together that are not connected, where a waiver names one. The name of one
/// begins with the ID of its node.
pub const ABSENT_CONSUMERS: &str = "every absent consumer";
/// Most keys of one [`EnrolRequest`](mesh::EnrolRequest).
pub const MAX_ENROLMENTS: usize = 100;
/// TLS exporter label that binds a key proof to its session.
pub const KEY_PROOF_EXPORTER: &[u8] = b"EXPORTER-countersign-key-proof";
