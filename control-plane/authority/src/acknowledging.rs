//! What control planes that share a database tell each other of who has the bundle of a prepared root, so that
//! the gate of each counts the consumers of all.

use countersign_fleet::Acknowledged;
use countersign_model::SpiffeId;

use super::state::Change;
use super::{Authority, AuthorityError};

/// Most rows that one tick takes away; the next tick goes on.
const FORGOTTEN_PER_TICK: usize = 1_024;

impl Authority {
    /// Whether another control plane may have to know who has a bundle.
    pub fn is_shared(&self) -> bool {
        let own = self.replica_name();
        let state = self.state.read();
        let mut others = state.replicas.iter().filter(|(name, _)| *name != own);
        !own.is_empty() && others.any(|(_, it)| it.is_joined())
    }

    /// The newest row of a node, whoever wrote it.
    pub fn acknowledged(&self, node: &SpiffeId) -> Option<Acknowledged> {
        self.state.read().acknowledged.get(node).cloned()
    }

    /// What another control plane says of the consumers of a node: nothing where it speaks of another bundle,
    /// has not joined or was sealed.
    pub fn acknowledged_elsewhere(
        &self,
        node: &SpiffeId,
        bundle_version: &str,
    ) -> Option<Acknowledged> {
        let state = self.state.read();
        let row = state.acknowledged.get(node)?;
        let counts = row.bundle_version == bundle_version
            && row.replica != self.replica_name()
            && state.replicas.is_joined(&row.replica);
        counts.then(|| row.clone())
    }

    /// Tells the other control planes what is known here. Of a node the newest row counts.
    ///
    /// # Errors
    /// The store is unavailable.
    pub async fn tell_acknowledged(
        &self,
        rows: Vec<(SpiffeId, Acknowledged)>,
    ) -> Result<(), AuthorityError> {
        let rows = rows.into_iter();
        let rows = rows.map(|(node, row)| Change::Acknowledged(node, Some(row)));
        self.change_unlogged(rows.collect(), Vec::new()).await?;
        Ok(())
    }

    /// Takes rows away that no root needs any more.
    pub(super) async fn forget_acknowledged(&self) -> Result<(), AuthorityError> {
        if self.prepared_root().is_some() {
            return Ok(());
        }
        let over: Vec<_> = {
            let state = self.state.read();
            let nodes = state.acknowledged.nodes().take(FORGOTTEN_PER_TICK);
            nodes
                .map(|it| Change::Acknowledged(it.clone(), None))
                .collect()
        };
        if !over.is_empty() {
            self.change_unlogged(over, Vec::new()).await?;
        }
        Ok(())
    }
}
