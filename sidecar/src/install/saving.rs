//! State that is in use and not on disk, because the disk refused it. It is reported, and written again
//! until the disk takes it.
//!
//! Two things are used before they are on disk: the node's credential, and the bundle of an attestation.
//! Each was had for a key or a token that the control plane does not accept again. A bundle from the
//! stream is stored before it is used: its acknowledgement promises that it survives a restart.

use std::sync::Arc;

use super::Installer;
use crate::state::StateError;

/// The files that have still to be written.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Unsaved {
    pub(super) node: bool,
    pub(super) bundle: bool,
}

impl Installer {
    /// Whether something that must survive a restart is not on disk.
    pub(crate) fn is_unsaved(&self) -> bool {
        self.unsaved.node || self.unsaved.bundle
    }

    /// Writes what is not on disk. A failure is noted in the holdings, and logged if it is another one
    /// than before.
    pub(crate) fn save(&mut self) {
        let failure = self.save_bundle().err();
        let failure = failure.or(self.save_node().err());
        let told = self.holdings.load().unsaved.clone();
        let problem = failure.map(|error| error.to_string());
        if told.as_deref() == problem.as_deref() {
            return;
        }
        match &problem {
            Some(error) => {
                tracing::warn!(%error, "held in memory alone, until state_dir takes it");
            }
            None => tracing::info!("state_dir has taken what was held in memory alone"),
        }
        let problem = problem.map(Arc::from);
        self.holdings.publish(|snapshot| snapshot.unsaved = problem);
    }

    fn save_bundle(&mut self) -> Result<(), StateError> {
        if let Some(stored) = self.bundle.as_ref().filter(|_| self.unsaved.bundle) {
            self.state.store_bundle(stored)?;
        }
        self.unsaved.bundle = false;
        Ok(())
    }

    fn save_node(&mut self) -> Result<(), StateError> {
        if let Some(node) = self.node.as_ref().filter(|_| self.unsaved.node) {
            self.state.store_node(node)?;
        }
        self.unsaved.node = false;
        Ok(())
    }
}
