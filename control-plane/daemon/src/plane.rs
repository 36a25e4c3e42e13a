//! What every service of the running control plane shares.

use std::net::SocketAddr;
use std::sync::Arc;

use countersign_admission::{Caller, Gate};
use countersign_authority::{Authority, AuthorityError, AuthorityInfo};
use countersign_fleet::{Consumers, Fleet, Hub};
use countersign_serve::source::Source;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::telemetry::Metrics;

/// Most names where it is told whom a rotation waits for: one node may report thousands.
const MAX_NAMED: usize = 256;

/// Whom a rotation waits for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Waiting {
    /// The first of them, by name.
    pub names: Vec<String>,
    /// How many there are beside.
    pub more: u64,
}

impl Waiting {
    /// As many as are told at once.
    pub(crate) fn of(mut names: Vec<String>) -> Self {
        let more = names.len().saturating_sub(MAX_NAMED) as u64;
        names.truncate(MAX_NAMED);
        Self { names, more }
    }
}

/// The running control plane, as its services see it.
#[derive(Debug)]
pub(crate) struct Plane {
    /// Everything that can change.
    pub authority: Arc<Authority>,
    /// Who may have something signed now.
    pub signing: Arc<Gate<Caller>>,
    /// Who may attest now.
    pub attesting: Arc<Gate<Source>>,
    /// The open discovery streams.
    pub hub: Arc<Hub>,
    /// What the nodes told.
    pub fleet: Fleet,
    /// What is counted.
    pub metrics: Metrics,
    /// Where `now` comes from.
    pub clock: Clock,
    /// When this process started.
    pub started_at: Timestamp,
    /// Where the sidecar API listens.
    pub api_address: SocketAddr,
    /// Where probes and metrics are served.
    pub telemetry_address: SocketAddr,
    /// Cancelled when the process shall end.
    pub stopping: CancellationToken,
    /// Every task that must end before the process does.
    pub tasks: TaskTracker,
}

impl Plane {
    /// The live consumers that do not have the newest bundle, as many as are told at once.
    pub(crate) fn waiting_for(&self) -> Waiting {
        Waiting::of(self.laggards())
    }

    /// All of them.
    pub(crate) fn laggards(&self) -> Vec<String> {
        let bundle = self.authority.first_bundle();
        bundle.map_or_else(Vec::new, |(bundle, _)| self.missing(bundle.version()))
    }

    /// Activates the prepared root, if there is one and everybody has its bundle.
    ///
    /// # Errors
    /// The bundle changed meanwhile; the store or a key is unavailable.
    pub(crate) async fn activate_if_open(&self) -> Result<Option<AuthorityInfo>, AuthorityError> {
        let Some((bundle, _)) = self.authority.first_bundle() else {
            return Ok(None);
        };
        let now = self.clock.now();
        let prepared = self.authority.prepared_root();
        let is_valid = prepared.is_some_and(|root| root.not_before <= now);
        let gate = self
            .consumers()
            .gate(bundle.version(), &self.authority.waived(now), now);
        let Some(gate) = gate.ok().filter(|_| is_valid) else {
            return Ok(None);
        };
        let activated = self.authority.activate_root(gate, now).await?;
        Ok(Some(activated))
    }

    fn missing(&self, version: &str) -> Vec<String> {
        let now = self.clock.now();
        let waived = self.authority.waived(now);
        self.consumers().waiting_for(version, &waived, now)
    }

    fn consumers(&self) -> Consumers {
        Consumers::take(&self.authority.nodes(), &self.hub, &self.fleet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_beyond_the_bound_are_counted() {
        let names = |count: usize| (0..count).map(|n| n.to_string()).collect();
        assert_eq!(Waiting::of(names(MAX_NAMED)).more, 0);
        let many = Waiting::of(names(MAX_NAMED + 7));
        assert_eq!((many.names.len(), many.more), (MAX_NAMED, 7));
    }
}
