//! A control plane that is gone for good, or that nobody waits for any more: its log is sealed by one that is
//! left, and its name is used up.
//!
//! The fence comes first: from then on nothing of it is taken, also where it runs on, cut off. So the log that
//! the database has is the whole one. Then its tiles are made, and the seal is written, in our log and in the
//! row of its name by one change. Each step may be made again, so the command that was cut short is given once
//! more.

mod progress;

use std::path::PathBuf;
use std::time::Duration;

use countersign_ca::log;
use countersign_fleet::Event;
use countersign_fleet::replicas::ALIVE;
use countersign_refusal::{Denied, Unavailable};
use countersign_tlog::Sealed as Tree;
use jiff::Timestamp;
use tokio::time::Instant;
use tracing::{info, warn};

pub use progress::Sealing;
pub(crate) use progress::Seals;

use super::Replica;
use super::refusals::{alive, alone, not_joined, own_log, unknown};
use crate::archive::DatabaseArchive;
use crate::state::{Change, Heartbeat};
use crate::{Authority, AuthorityError};

/// One command reads entries for so long at most: the next one goes on.
const SEAL_WITHIN: Duration = Duration::from_secs(15 * 60);

/// A control plane whose log is sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedReplica {
    /// The id of its log.
    pub log_id: u32,
    /// When it was sealed.
    pub since: Timestamp,
    /// How many entries its log has.
    pub size: u64,
    /// The root of their tree, lower-case hex.
    pub root_hash: String,
    /// Whether that was so before.
    pub was_sealed: bool,
    /// Its tiles, where they are in this data directory.
    pub folder: Option<PathBuf>,
}

/// What became of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemovedReplica {
    /// It was invited, and cannot join any more.
    Withdrawn,
    /// Its log is sealed.
    Sealed(SealedReplica),
}

impl SealedReplica {
    fn of(row: &Replica, was_sealed: bool) -> Option<Self> {
        match row {
            Replica::Sealed {
                log_id,
                since,
                size,
                root_hash,
            } => Some(Self {
                log_id: *log_id,
                since: *since,
                size: *size,
                root_hash: root_hash.clone(),
                was_sealed,
                folder: None,
            }),
            Replica::Invited { .. } | Replica::Joined { .. } => None,
        }
    }
}

impl Authority {
    /// Fences a control plane out, makes its log again from the database, and announces the seal. What it
    /// issued stays valid. One that is sealed stays as it is.
    ///
    /// # Errors
    /// It is this one, has not joined, or is alive and not `force`d; log, disk or database are unavailable.
    pub async fn seal_replica(
        &self,
        name: &str,
        force: bool,
        now: Timestamp,
    ) -> Result<SealedReplica, AuthorityError> {
        let name = name.to_owned();
        self.to_the_end(async move |this| this.seal_to_its_end(&name, force, now).await)
            .await
    }

    /// Withdraws an invitation, or seals the log of one that has joined.
    ///
    /// # Errors
    /// As for [`Authority::seal_replica`].
    pub async fn remove_replica(
        &self,
        name: &str,
        force: bool,
        now: Timestamp,
    ) -> Result<RemovedReplica, AuthorityError> {
        let invited = name.to_owned();
        let withdrawn = self.act(move |this| {
            let name = invited.clone();
            async move { this.withdraw(name).await }
        });
        if withdrawn.await? {
            return Ok(RemovedReplica::Withdrawn);
        }
        let sealed = self.seal_replica(name, force, now).await?;
        Ok(RemovedReplica::Sealed(sealed))
    }

    /// What is in the way of one whose own log was sealed by another, for people.
    pub(crate) fn is_sealed(&self) -> Option<String> {
        let name = self.settings.replica();
        let state = self.state.read();
        let is_sealed = matches!(state.replicas.get(name), Some(Replica::Sealed { .. }));
        is_sealed.then(|| {
            format!(
                "the log of this control plane, {name}, was sealed by another one: it issues nothing any more; stop \
                 it, and let it join with another replica.name and an empty data_dir"
            )
        })
    }

    /// Takes back an invitation that was not used; `false` where there is none.
    async fn withdraw(&self, name: String) -> Result<bool, AuthorityError> {
        let _one_at_a_time = self.turn().await?;
        let as_read = {
            let replicas = &self.state.read().replicas;
            match replicas.get(&name) {
                Some(Replica::Invited { .. }) => replicas.as_read(&name),
                _ => return Ok(false),
            }
        };
        let gone = Change::Replica(name.clone(), None);
        self.act_unlogged_if(vec![gone], vec![as_read]).await?;
        info!(replica = name, "invitation of a control plane withdrawn");
        Ok(true)
    }

    async fn seal_to_its_end(
        &self,
        name: &str,
        force: bool,
        now: Timestamp,
    ) -> Result<SealedReplica, AuthorityError> {
        let busy = |_| Unavailable::retry("this control plane seals a log at this moment");
        let _one_at_a_time = self.sealing.turn().map_err(busy)?;
        // By a clock that was set forward one that is there seems to have been silent for long.
        if let Some(reason) = self.clocks_differ(now).filter(|_| !force) {
            return Err(Unavailable::retry(reason).into());
        }
        let sealed = match self.sealable(name, force, now)? {
            Sealable::Sealed(sealed) => {
                self.seal_again(name, &sealed).await?;
                sealed
            }
            Sealable::Joined(log_id) => {
                self.fence_out(name, now).await?;
                let tree = self.seal_log(name, log_id).await?;
                self.write_seal(name, log_id, tree, now).await?
            }
        };
        self.retire_issuing_of(name, now).await?;
        let folder = log::sealed_folder(&self.settings.data_dir, sealed.log_id);
        let folder = folder.exists().then_some(folder);
        Ok(SealedReplica { folder, ..sealed })
    }

    fn sealable(&self, name: &str, force: bool, now: Timestamp) -> Result<Sealable, Denied> {
        let own = self.settings.replica();
        if own.is_empty() {
            return Err(alone());
        }
        if own == name {
            return Err(own_log(name));
        }
        let replicas = &self.state.read().replicas;
        let row = replicas.get(name).ok_or_else(|| unknown(name))?;
        if let Some(sealed) = SealedReplica::of(row, true) {
            return Ok(Sealable::Sealed(sealed));
        }
        let log_id = row.log_id().ok_or_else(|| not_joined(name))?;
        let heard = replicas.heard(name).filter(|_| !force);
        let until = heard.and_then(|heard| heard.checked_add(ALIVE).ok());
        match until.filter(|until| now < *until) {
            Some(_) => Err(alive(name)),
            None => Ok(Sealable::Joined(log_id)),
        }
    }

    /// Fences another one out. Whoever was fenced out itself fences nobody: it makes a commit first.
    async fn fence_out(&self, name: &str, now: Timestamp) -> Result<(), AuthorityError> {
        let trial = self.act(|this| async move {
            let _one_at_a_time = this.turn().await?;
            Ok(this.act_unlogged(Vec::new()).await?)
        });
        trial.await?;
        self.store.fence_out(name).await?;
        warn!(replica = name, "control plane fenced out");
        self.say_fenced_out(name, now).await
    }

    /// In the place of what it says of itself, which nobody takes any more: so every control plane shows that
    /// a seal has begun, until the seal takes this away.
    pub(crate) async fn say_fenced_out(
        &self,
        name: &str,
        now: Timestamp,
    ) -> Result<(), AuthorityError> {
        let last = self.state.read().replicas.heartbeat(name).cloned();
        if last.as_ref().is_some_and(|it| it.fenced_at.is_some()) {
            return Ok(());
        }
        let fenced = Heartbeat {
            fenced_at: Some(now),
            ..last.unwrap_or_else(|| Heartbeat::unheard(now))
        };
        let said = Change::Heartbeat(name.to_owned(), Some(fenced));
        self.change_unlogged(vec![said], Vec::new()).await?;
        Ok(())
    }

    /// Makes the tiles of a log to which nobody adds any more, as far as it gets in its time.
    async fn seal_log(&self, name: &str, log_id: u32) -> Result<Tree, AuthorityError> {
        let mut archive = DatabaseArchive::of_another(&self.store, log_id);
        let trust_domain = self.trust_domain().clone();
        let data_dir = self.settings.data_dir.clone();
        let (told, end) = (self.sealing.begin(name), Instant::now() + SEAL_WITHIN);
        let seal = move || {
            let mut goes_on = |done, of| {
                told.is(done, of);
                Instant::now() < end
            };
            let sealed = log::seal(log_id, &trust_domain, &data_dir, &mut archive, &mut goes_on);
            sealed.map(|tree| tree.ok_or_else(|| out_of_time(told.sealing())))
        };
        let sealed = tokio::task::spawn_blocking(seal).await;
        let sealed = sealed.map_err(Unavailable::retry)??;
        Ok(sealed?)
    }

    /// Makes the tiles of a log that another one sealed, which may be gone as well. They are those that it
    /// announced.
    async fn seal_again(&self, name: &str, sealed: &SealedReplica) -> Result<(), AuthorityError> {
        let tree = self.seal_log(name, sealed.log_id).await?;
        let is_same = tree.size == sealed.size && hex::encode(tree.root) == sealed.root_hash;
        match is_same {
            true => Ok(()),
            false => Err(Unavailable::damaged(format!(
                "the log {:06x} was sealed with {} entries and root {}, and the database has {} with another root",
                sealed.log_id, sealed.size, sealed.root_hash, tree.size
            ))
            .into()),
        }
    }

    /// Announces the seal, unless another one did meanwhile.
    async fn write_seal(
        &self,
        name: &str,
        log_id: u32,
        tree: Tree,
        now: Timestamp,
    ) -> Result<SealedReplica, AuthorityError> {
        let name = name.to_owned();
        self.act(move |this| {
            let (name, tree) = (name.clone(), tree.clone());
            async move { this.write_seal_now(name, log_id, tree, now).await }
        })
        .await
    }

    async fn write_seal_now(
        &self,
        name: String,
        log_id: u32,
        tree: Tree,
        now: Timestamp,
    ) -> Result<SealedReplica, AuthorityError> {
        let _one_at_a_time = self.turn().await?;
        let as_read = {
            let replicas = &self.state.read().replicas;
            let row = replicas.get(&name).ok_or_else(|| unknown(&name))?;
            if let Some(sealed) = SealedReplica::of(row, true) {
                return Ok(sealed);
            }
            replicas.as_read(&name)
        };
        let what = log::sealed(log_id, &name, &tree);
        let row = Replica::Sealed {
            log_id,
            since: now,
            size: tree.size,
            root_hash: hex::encode(tree.root),
        };
        let sealed = SealedReplica::of(&row, false).expect("it is sealed");
        let changes = vec![
            Change::Replica(name.clone(), Some(row)),
            Change::Heartbeat(name.clone(), None),
        ];
        let changed = self.change(vec![what], changes, vec![as_read], |_| (), now);
        changed.await?;
        warn!(
            replica = name,
            size = tree.size,
            "log of a control plane sealed"
        );
        Ok(sealed)
    }

    /// Whoever is sealed has no issuing CA any more.
    async fn retire_issuing_of(&self, name: &str, now: Timestamp) -> Result<(), AuthorityError> {
        let name = name.to_owned();
        self.act(move |this| {
            let name = name.clone();
            async move {
                let _one_at_a_time = this.turn().await?;
                let mut next = this.hierarchy.read().clone();
                if next.authorities.slots().active_issuing(&name).is_none() {
                    return Ok(());
                }
                next.authorities.slots_mut().retire_owner(&name);
                this.replace(Ok(()), next, [Event::Authorities], now).await
            }
        })
        .await
    }
}

impl Authority {
    /// How far the seal of a log is, where it is made here now.
    pub(super) fn sealing_of(&self, name: &str) -> Option<Sealing> {
        self.sealing.of(name)
    }
}

/// What may be done.
enum Sealable {
    Sealed(SealedReplica),
    /// With the id of its log.
    Joined(u32),
}

fn out_of_time(Sealing { entries, of }: Sealing) -> Unavailable {
    let minutes = SEAL_WITHIN.as_secs() / 60;
    Unavailable::retry(format!(
        "{entries} of {of} entries are sealed, and no more within {minutes} min: give the command again, \
         which goes on from there"
    ))
}
