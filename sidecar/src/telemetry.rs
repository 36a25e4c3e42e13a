//! What the sidecar counts about itself.

mod departure;
mod held;
mod metrics;

use std::sync::Arc;

use countersign_serve::Counters;

pub(crate) use departure::Departure;
pub(crate) use held::WokenSeries;
pub(crate) use metrics::{Metrics, Side};

/// A listener that counts its connections, by its name in logs and metrics.
pub(crate) type Counted = (Arc<str>, Arc<Counters>);
