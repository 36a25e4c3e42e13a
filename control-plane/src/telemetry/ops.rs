//! `/livez`, `/readyz` and `/metrics`.

use std::sync::Arc;

use countersign_serve::ops::Ops;

use crate::plane::Plane;

/// Whether the control plane can attest and sign.
#[derive(Debug)]
pub(crate) struct Readiness(pub Arc<Plane>);

impl Ops for Readiness {
    fn ready(&self) -> Result<(), Vec<String>> {
        let mut reasons = Vec::new();
        if self.0.stopping.is_cancelled() {
            reasons.push("stopping".to_owned());
        }
        let now = self.0.clock.now();
        reasons.extend(self.0.authority.obstacles(now));
        if reasons.is_empty() {
            Ok(())
        } else {
            Err(reasons)
        }
    }

    fn degraded(&self) -> Vec<String> {
        let listeners = self.0.metrics.listeners();
        let crowded = listeners
            .into_iter()
            .filter_map(|(name, counters)| Some(format!("{name}: {}", counters.crowded()?)));
        crowded.chain(self.0.authority.warnings()).collect()
    }

    fn metrics(&self) -> String {
        self.0.metrics.scrape(&self.0)
    }
}
