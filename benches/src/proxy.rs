//! What the sidecar's proxy costs: its memory beside Envoy's, and a connection where the uid at the
//! other end is asked for beside one where it is not.

pub mod connections;
pub mod footprint;
