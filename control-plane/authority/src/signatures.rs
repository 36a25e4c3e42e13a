//! Signatures of our own log that the database lacks: those that found no room or no database, and all of a log
//! that came with its state from files. The other control planes list and show a certificate once they have its
//! signature.
//!
//! How far they were brought is a fact of this control plane, so a start looks at what was logged since the one
//! before alone. It goes on while this control plane serves, and what fails waits for the next start.

use std::collections::BTreeSet;
use std::sync::Weak;

use countersign_refusal::Unavailable;
use countersign_store::{Commit, Kind, Write};
use countersign_telemetry::{Principal, peer_line};

use super::archive::SIGNATURES_AT_ONCE;
use super::identity::BROUGHT;
use super::{Authority, AuthorityError};

impl Authority {
    /// Begins to bring those of entries from an index on.
    pub(super) fn bring_signatures(&self, from: u64) {
        if !self.store.keeps_log() {
            return;
        }
        let this = self.this.clone();
        tokio::spawn(async move {
            if let Err(error) = bring(this, from).await {
                let log = Principal::part("signatures");
                peer_line!(WARN, log, %error, "signatures wait for the next start to be in the database");
            }
        });
    }

    /// Brings what is kept beside these entries; nothing where there is none.
    async fn bring_kept(&self, indexes: &[u64]) -> Result<(), AuthorityError> {
        let kept = indexes.iter().map(|it| self.ledger.kept_signature(*it));
        let kept = kept.collect::<Result<Vec<_>, _>>()?;
        let signatures: Vec<_> = kept.into_iter().flatten().collect();
        if signatures.is_empty() {
            return Ok(());
        }
        let commit = Commit {
            signatures,
            ..Commit::default()
        };
        Ok(self.commit_then(commit, Self::take_nothing).await?)
    }

    async fn note_brought(&self, end: u64) -> Result<(), AuthorityError> {
        let brought = Write::put(Kind::Meta, self.facts.key(BROUGHT), &end);
        let commit = Commit {
            writes: vec![brought],
            ..Commit::default()
        };
        Ok(self.commit_then(commit, Self::take_nothing).await?)
    }

    fn take_nothing(this: &Self, seq: countersign_model::Seq) {
        this.take(seq, Vec::new(), |_| ());
    }
}

/// It holds the control plane no longer than a page takes: one that ends waits for nothing here.
async fn bring(this: Weak<Authority>, from: u64) -> Result<(), AuthorityError> {
    let Some(authority) = this.upgrade() else {
        return Ok(());
    };
    let (log_id, end) = (authority.ledger.log().id(), authority.ledger.log().size());
    if from >= end {
        return Ok(());
    }
    let voided = tokio::task::spawn_blocking(move || authority.ledger.log().voided(from)).await;
    let voided: BTreeSet<u64> = voided.map_err(Unavailable::retry)??;
    let mut next = from;
    loop {
        let Some(authority) = this.upgrade() else {
            return Ok(());
        };
        let page = authority.store.log_unsigned(log_id, next).await?;
        let Some(last) = page.last().filter(|_| next < end) else {
            return authority.note_brought(end).await;
        };
        next = last + 1;
        // Of what is logged from now on the signature comes by itself, and of what is void none may.
        let lacking = page
            .into_iter()
            .filter(|it| *it < end && !voided.contains(it));
        let lacking: Vec<_> = lacking.collect();
        for indexes in lacking.chunks(SIGNATURES_AT_ONCE) {
            authority.bring_kept(indexes).await?;
        }
    }
}
