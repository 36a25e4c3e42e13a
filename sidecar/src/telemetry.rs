//! What the sidecar tells about itself: metrics, and the probes that serve them.

mod metrics;
mod ops;

use std::sync::Arc;

use countersign_serve::Counters;

pub use metrics::{MAX_IDENTITY_SERIES, Metrics, Side};
pub use ops::SidecarOps;

/// A listener that counts its connections, by its name in logs and metrics.
pub type Counted = (Arc<str>, Arc<Counters>);
