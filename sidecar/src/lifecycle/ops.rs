//! `/livez`, `/readyz`, `/metrics`: what the probes are told.

use std::sync::Arc;

use countersign_serve::ops::Ops;

use super::{Readiness, Reasons};
use crate::clock::Clock;
use crate::holdings::Holdings;
use crate::telemetry::Metrics;

/// The sidecar as probes and scrapers see it.
#[derive(Debug)]
pub(crate) struct SidecarOps {
    /// What it can do.
    pub(crate) readiness: Readiness,
    /// What it holds.
    pub(crate) holdings: Arc<Holdings>,
    /// What it counted.
    pub(crate) metrics: Arc<Metrics>,
    /// The wall clock.
    pub(crate) clock: Clock,
    /// Whether everybody may read the names of identities: `telemetry.identity_labels`.
    pub(crate) names: bool,
}

impl SidecarOps {
    fn told(&self, reasons: Reasons) -> Vec<String> {
        match self.names {
            true => reasons.named(),
            false => reasons.counted(),
        }
    }
}

impl Ops for SidecarOps {
    fn ready(&self) -> Result<(), Vec<String>> {
        match self.told(self.readiness.missing(self.clock.now())) {
            missing if missing.is_empty() => Ok(()),
            missing => Err(missing),
        }
    }

    fn degraded(&self) -> Vec<String> {
        self.told(self.readiness.degraded())
    }

    fn metrics(&self) -> String {
        self.metrics.encode(&self.holdings.load(), self.clock.now())
    }
}
