//! The control planes that share the database: each is invited by another, joins once, and is known by
//! its name and its log from then on.

mod invitation;
pub(crate) mod joining;

use std::collections::BTreeMap;
use std::time::Duration;

use countersign_model::Seq;
use countersign_refusal::Denied;
use countersign_store::{Kind, Precondition};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tracing::info;

use super::state::Change;
use super::{Authority, AuthorityError};
pub use invitation::{Invitation, InvitationError, check_name};

/// Most control planes of a database that were not sealed: each takes every commit of the others.
pub const MAX_REPLICAS: usize = 16;
/// How long an invitation may wait: whoever has it becomes a control plane.
const INVITED_FOR: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(60)..=Duration::from_secs(7 * 24 * 3_600);

/// One control plane of those that share the database, as the store has it under its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum Replica {
    /// It may join once.
    Invited {
        /// SHA-256 over the secret of its invitation, lower-case hex.
        secret_sha256: String,
        /// Until when.
        until: Timestamp,
    },
    /// It has a log of its own, and an issuing CA once one is certified.
    Joined {
        /// The id of its log, and so that of the serials in it.
        log_id: u32,
        /// When it joined.
        since: Timestamp,
    },
    /// It is gone for good, and so is its name.
    Sealed {
        /// The id of its log.
        log_id: u32,
        /// When it was sealed.
        since: Timestamp,
        /// How many entries its log has.
        size: u64,
        /// The root of their tree, lower-case hex.
        root_hash: String,
    },
}

impl Replica {
    /// The id of its log, once it has one.
    pub fn log_id(&self) -> Option<u32> {
        match self {
            Self::Invited { .. } => None,
            Self::Joined { log_id, .. } | Self::Sealed { log_id, .. } => Some(*log_id),
        }
    }

    /// Whether it may issue.
    pub fn is_joined(&self) -> bool {
        matches!(self, Self::Joined { .. })
    }
}

/// Every control plane that shares the database, by name; none where the state is in files.
#[derive(Debug, Default)]
pub(crate) struct Replicas(BTreeMap<String, (Replica, Seq)>);

impl Replicas {
    /// Takes what a commit wrote of one.
    pub(crate) fn written(&mut self, name: String, replica: Option<Replica>, seq: Seq) {
        match replica {
            Some(replica) => self.0.insert(name, (replica, seq)),
            None => self.0.remove(&name),
        };
    }

    /// One of them, and the commit that wrote it.
    pub(crate) fn get(&self, name: &str) -> Option<(&Replica, Seq)> {
        let (replica, seq) = self.0.get(name)?;
        Some((replica, *seq))
    }

    /// All of them, by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Replica)> {
        let all = self.0.iter();
        all.map(|(name, (replica, _))| (name.as_str(), replica))
    }

    /// Whether a control plane of this name may issue.
    pub(crate) fn is_joined(&self, name: &str) -> bool {
        self.get(name)
            .is_some_and(|(replica, _)| replica.is_joined())
    }

    /// Whether one may be invited under this name, in place of an invitation that waits.
    ///
    /// # Errors
    /// The name is or was another's, or there are too many.
    fn check_room(&self, name: &str) -> Result<(), Denied> {
        match self.get(name).map(|(replica, _)| replica) {
            Some(Replica::Joined { .. }) => return Err(known(name, "is a control plane here")),
            Some(Replica::Sealed { .. }) => return Err(known(name, "was sealed")),
            Some(Replica::Invited { .. }) => return Ok(()),
            None => {}
        }
        let open = { self.0.values() }.filter(|(it, _)| !matches!(it, Replica::Sealed { .. }));
        if open.count() < MAX_REPLICAS {
            return Ok(());
        }
        Err(Denied {
            code: "too_many_replicas",
            message: format!("{MAX_REPLICAS} control planes share the database, or are invited"),
            remedy: "invite again a name that was invited and did not join; see `countersign replica list`",
        })
    }
}

impl Authority {
    /// Invites a control plane to the database of this one.
    ///
    /// # Errors
    /// The state is in files; the name is taken or none; the time is out of bounds.
    pub async fn invite_replica(
        &self,
        name: &str,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<(Invitation, Timestamp), AuthorityError> {
        let name = name.to_owned();
        self.to_the_end(async move |this| this.invite_now(name, ttl, now).await)
            .await
    }

    async fn invite_now(
        &self,
        name: String,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<(Invitation, Timestamp), AuthorityError> {
        let _one_at_a_time = self.turn().await?;
        if self.settings.replica().is_empty() {
            return Err(alone().into());
        }
        check_name(&name).map_err(|denied| Denied {
            message: format!("what was asked for {}", denied.message),
            ..denied
        })?;
        if !INVITED_FOR.contains(&ttl) {
            return Err(ttl_out_of_bounds().into());
        }
        let unchanged = {
            let state = self.state.read();
            state.replicas.check_room(&name)?;
            match state.replicas.get(&name) {
                Some((_, seq)) => Precondition::Unchanged(Kind::Replica, name.clone(), seq),
                None => Precondition::Absent(Kind::Replica, name.clone()),
            }
        };
        let (trust_domain, entropy) = (self.trust_domain(), &*self.settings.entropy);
        let invitation = Invitation::new(trust_domain, &name, entropy)?;
        let until = now.checked_add(ttl).unwrap_or(now);
        let secret_sha256 = invitation.secret_sha256();
        let invited = Replica::Invited {
            secret_sha256,
            until,
        };
        let made = Change::Replica(name.clone(), Some(invited));
        self.change_unlogged(vec![made], vec![unchanged]).await?;
        info!(replica = name, %until, "control plane invited");
        Ok((invitation, until))
    }

    /// Every control plane that shares the database, by name.
    pub fn replicas(&self) -> Vec<(String, Replica)> {
        let state = self.state.read();
        let all = state.replicas.iter();
        all.map(|(name, replica)| (name.to_owned(), replica.clone()))
            .collect()
    }

    /// Whether a control plane of this name may issue here.
    pub fn is_replica(&self, name: &str) -> bool {
        self.state.read().replicas.is_joined(name)
    }

    /// The name of this control plane among those that share its database; empty where it is alone.
    pub fn replica_name(&self) -> &str {
        self.settings.replica()
    }
}

fn known(name: &str, what: &str) -> Denied {
    Denied {
        code: "replica_known",
        message: format!("{name} {what}"),
        remedy: "choose another name; see `countersign replica list`",
    }
}

fn alone() -> Denied {
    Denied {
        code: "replica_alone",
        message: "the state is in data_dir: one control plane can use it".to_owned(),
        remedy: "move it to PostgreSQL with `countersign store copy`, and set store.url",
    }
}

fn ttl_out_of_bounds() -> Denied {
    Denied {
        code: "replica_ttl_out_of_bounds",
        message: "an invitation waits 1 min to 7 days".to_owned(),
        remedy: "choose a --ttl within the bounds",
    }
}

#[cfg(test)]
mod tests;
