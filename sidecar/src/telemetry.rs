//! What the sidecar tells about itself: metrics, and the probes that serve them.

mod metrics;
mod ops;

pub use metrics::{MAX_IDENTITY_SERIES, Metrics, Side};
pub use ops::SidecarOps;
