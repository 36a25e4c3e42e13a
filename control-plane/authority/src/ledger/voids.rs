//! Entries that are void and not voided in the log yet: those of changes that were not made, and
//! certificates that nobody was given.

use std::collections::BTreeSet;

use countersign_proto::log::Voided;
use countersign_proto::log::entry::What;
use countersign_refusal::Unavailable;
use countersign_telemetry::{Principal, peer_line};
use countersign_tlog::LogError;
use jiff::Timestamp;

use super::Ledger;
use crate::AuthorityError;

/// Most entries that wait to be voided: with so many nothing more is signed.
const MAX_UNVOIDED: usize = 4_096;

/// Entries that are void and not voided in the log yet.
#[derive(Debug)]
pub(super) struct Unvoided {
    indexes: BTreeSet<u64>,
    /// See [`MAX_UNVOIDED`].
    most: usize,
}

impl Default for Unvoided {
    fn default() -> Self {
        Self {
            indexes: BTreeSet::new(),
            most: MAX_UNVOIDED,
        }
    }
}

impl Ledger {
    /// An entry is void; the log is told by the next [`void_pending`](Self::void_pending).
    pub(crate) fn must_void(&self, index: u64) {
        self.write().unvoided.indexes.insert(index);
    }

    /// Whether an entry waits to be voided.
    pub(crate) fn is_void_pending(&self) -> bool {
        !self.read().unvoided.indexes.is_empty()
    }

    /// Voids entries. What cannot be voided now is voided before the next change, with the next
    /// tick or at the end.
    pub(crate) async fn void(&self, indexes: &[u64], now: Timestamp) {
        self.write().unvoided.indexes.extend(indexes);
        if let Err(error) = self.void_pending(now).await {
            let log = Principal::part("issuance log");
            peer_line!(ERROR, log, %error, "entries of the issuance log were not voided");
        }
    }

    /// Voids what could not be voided before.
    ///
    /// # Errors
    /// The log does not take it.
    pub(crate) async fn void_pending(&self, now: Timestamp) -> Result<(), LogError> {
        let _one_at_a_time = self.voiding.lock().await;
        loop {
            let Some(index) = self.first_unvoided() else {
                return Ok(());
            };
            self.log.note(now, What::Voided(Voided { index })).await?;
            self.write().unvoided.indexes.remove(&index);
        }
    }

    fn first_unvoided(&self) -> Option<u64> {
        self.read().unvoided.indexes.first().copied()
    }

    /// Before a certificate is logged: whether it could be remembered as void. Those under way come
    /// on top of the bound, each was within it when it began.
    ///
    /// # Errors
    /// Too many wait for the log to take their voids.
    pub(crate) fn check_voids(&self) -> Result<(), AuthorityError> {
        let books = self.read();
        let waiting = books.unvoided.indexes.len();
        if waiting < books.unvoided.most {
            return Ok(());
        }
        Err(Unavailable::retry(format!(
            "{waiting} entries of the issuance log wait to be voided; nothing is signed before it \
             takes that"
        ))
        .into())
    }

    /// The entries that wait to be voided.
    #[cfg(test)]
    pub(crate) fn unvoided(&self) -> BTreeSet<u64> {
        self.read().unvoided.indexes.clone()
    }

    /// Takes another bound than [`MAX_UNVOIDED`].
    #[cfg(test)]
    pub(crate) fn void_at_most(&self, most: usize) {
        self.write().unvoided.most = most;
    }
}
