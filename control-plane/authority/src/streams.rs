//! What control planes that share a database tell each other of the streams of their nodes, so that each shows
//! the whole fleet.

use countersign_fleet::streams::{Due, StreamRow};
use countersign_model::{Seq, SpiffeId};
use countersign_proto::convert::addresses::MAX_ADDRESSES;
use countersign_store::{Kind, Precondition};
use jiff::Timestamp;
use tokio::time::Instant;

use super::state::Change;
use super::{Authority, AuthorityError};

/// What is known of the stream of a node that is not open here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Elsewhere {
    /// Another control plane, which is there, has it since then.
    Open(String, Timestamp),
    /// It was last seen then, by whichever of them.
    Last(Timestamp),
}

impl Authority {
    /// Where sidecars reach the control planes that are there, this one first: those that say so.
    pub fn addresses(&self, now: Timestamp) -> Vec<String> {
        let (own, moment) = (self.replica_name(), Instant::now());
        if own.is_empty() {
            return Vec::new();
        }
        let others = self.state.read().replicas.addresses(own, now, moment);
        let own = self.settings.advertise.clone();
        own.into_iter().chain(others).take(MAX_ADDRESSES).collect()
    }

    /// The newest row of a node, whoever wrote it, and by which commit.
    pub fn stream_row(&self, node: &SpiffeId) -> Option<(StreamRow, Seq)> {
        self.state.read().streams.get(node).cloned()
    }

    /// What the others say of a node that has no stream here.
    pub fn elsewhere(&self, node: &SpiffeId, now: Timestamp) -> Option<Elsewhere> {
        let own = self.replica_name();
        if own.is_empty() {
            return None;
        }
        let state = self.state.read();
        let (row, _) = state.streams.get(node)?;
        if !row.open {
            return Some(Elsewhere::Last(row.since));
        }
        // What was open at the process before this one, and has not come back.
        let facts = state.replicas.facts(&row.replica, Instant::now());
        let is_live = row.replica != own && facts.is_some_and(|it| it.is_live(now));
        Some(match is_live {
            true => Elsewhere::Open(row.replica.clone(), row.since),
            false => {
                let said = state.replicas.heartbeat(&row.replica).map(|said| said.at);
                let said = said.filter(|at| *at > row.since && *at <= now);
                Elsewhere::Last(said.unwrap_or(row.since))
            }
        })
    }

    /// The nodes whose stream is open here as far as the others were told.
    pub fn told_open(&self) -> Vec<SpiffeId> {
        let state = self.state.read();
        let open = state.streams.open_at(self.replica_name());
        open.cloned().collect()
    }

    /// Whether every control plane of the database reads what is told of streams.
    pub fn may_tell_streams(&self) -> bool {
        self.store.may_write(Kind::Stream)
    }

    /// Tells the others: all of it, or nothing.
    ///
    /// # Errors
    /// The store is unavailable, or another control plane wrote one of these rows meanwhile.
    pub async fn tell_streams(&self, due: Vec<Due>) -> Result<(), AuthorityError> {
        let as_judged = |it: &Due| {
            let key = it.node.as_str().to_owned();
            match it.instead_of {
                Some(seq) => Precondition::Unchanged(Kind::Stream, key, seq),
                None => Precondition::Absent(Kind::Stream, key),
            }
        };
        let preconditions = due.iter().map(as_judged).collect();
        let rows = due.into_iter();
        let rows = rows.map(|it| Change::Stream(it.node, Some(it.row)));
        self.change_unlogged(rows.collect(), preconditions).await?;
        Ok(())
    }
}
