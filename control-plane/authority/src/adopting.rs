//! Issuing CAs that take a new owner with their control plane.
//!
//! A state moves from a data directory, where there are no names, into a database, where each replica
//! has one, and back. Its log and the key of its issuing CA stay in the data directory, so whoever
//! opens the state with that directory goes on with the same issuing CA. The log is not told: who
//! signed did not change.

use countersign_ca::authorities::Authorities;
use countersign_store::{Kind, Precondition, Write};
use tracing::info;

use super::rotation::BUNDLE_SEQUENCE;
use super::{Authority, AuthorityError, stored_cas};

impl Authority {
    /// The CAs as they were stored, and those that came with the state as our own, durably. `first` is
    /// the replica that the state belongs to, where a database was ever used.
    pub(super) async fn adopted(
        &self,
        stored: Authorities,
        first: Option<&str>,
        bundle_sequence: u64,
    ) -> Result<Authorities, AuthorityError> {
        let own = self.settings.replica();
        let Some(from) = former_owner(own, first) else {
            return Ok(stored);
        };
        let mut adopted = stored.clone();
        adopted.adopt(from, own);
        if own.is_empty() {
            // Nobody else reads these files, and those keys are where the others are.
            adopted.slots_mut().retire_others(own);
        }
        let mut writes = stored_cas::changes(&stored, &adopted);
        if writes.is_empty() {
            return Ok(stored);
        }
        // Whoever changes the CAs from now on must have seen this.
        let key = BUNDLE_SEQUENCE.to_owned();
        writes.push(Write::put(Kind::Meta, key.clone(), &bundle_sequence));
        let as_read = Precondition::Unchanged(Kind::Meta, key, self.hierarchy.read().written);
        let seq = self.store.commit(writes, vec![as_read]).await?;
        self.hierarchy.update(|cas| cas.written = seq);
        self.state.announce(seq, []);
        info!(
            from,
            to = own,
            "issuing CAs have the name of this replica now"
        );
        Ok(adopted)
    }
}

/// Whose issuing CAs are ours from now on. In a database that is so for the replica that its state
/// belongs to alone: another one joined it later, with an issuing CA of its own.
fn former_owner<'a>(own: &str, first: Option<&'a str>) -> Option<&'a str> {
    match first {
        Some(first) if own.is_empty() => Some(first),
        Some(first) if own == first => Some(""),
        _ => None,
    }
}
