//! `/livez`, `/readyz` and `/metrics`.

use std::sync::Arc;

use countersign_serve::ops::Ops;

use crate::plane::Plane;
use crate::telemetry::Levels;

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
        let authority = &self.0.authority;
        let warnings = authority.warnings().into_iter();
        crowded
            .chain(warnings.chain(authority.ca_warnings(self.0.clock.now())))
            .collect()
    }

    fn metrics(&self) -> String {
        let authority = &self.0.authority;
        self.0.metrics.scrape(&levels(&self.0), |registry| {
            authority.metrics().register(registry);
            authority.keys().register(registry);
        })
    }
}

fn levels(plane: &Plane) -> Levels {
    let authority = &plane.authority;
    Levels {
        issued: authority.issued_total(),
        streams: plane.hub.connected().len(),
        registrations: authority.registration_count(),
        nodes: authority.attested_count(),
        certified_keys: authority.certified_keys(),
        store_writable: authority.is_writable(),
        ca_not_after: authority.signs_until(),
        signing: plane.signing.occupancy(),
        attesting: plane.attesting.occupancy(),
    }
}
