//! The control planes that share the database: each is invited by another, joins once, and is known by
//! its name and its log from then on.

mod invitation;
pub(crate) mod joining;
mod listing;
pub(crate) mod noting;
mod refusals;
mod sealing;

use std::time::Duration;

use countersign_refusal::Denied;
use jiff::Timestamp;
use tracing::info;

use super::state::Change;
pub use super::state::{MAX_REPLICAS, Replica};
use super::{Authority, AuthorityError};
pub use invitation::{Invitation, InvitationError, check_name};
pub use listing::ListedReplica;
use refusals::{alone, ttl_out_of_bounds};
pub(crate) use sealing::Seals;
pub use sealing::{RemovedReplica, SealedReplica, Sealing};

/// How long an invitation may wait: whoever has it becomes a control plane.
const INVITED_FOR: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(60)..=Duration::from_secs(7 * 24 * 3_600);

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
        self.act(move |this| {
            let name = name.clone();
            async move { this.invite_now(name, ttl, now).await }
        })
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
        let as_read = {
            let state = self.state.read();
            state.replicas.check_room(&name)?;
            state.replicas.as_read(&name)
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
        self.act_unlogged_if(vec![made], vec![as_read]).await?;
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

    /// Whether this control plane, one of several, takes no part any more: its store stopped, so it hears of
    /// nothing that the others do.
    pub fn is_out(&self) -> bool {
        self.is_shared() && self.store.is_stopped()
    }

    /// The name of this control plane among those that share its database; empty where it is alone.
    pub fn replica_name(&self) -> &str {
        self.settings.replica()
    }
}

#[cfg(test)]
mod tests;
