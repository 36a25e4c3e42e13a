//! Waivers: a pending root may sign although one consumer has not acknowledged its bundle.
//!
//! Each names one consumer, as `ca status` does, and the root that waits for it: it opens for no
//! other consumer, for no later rotation, and not for longer than it says. It is logged before it
//! counts, and survives a restart.
//!
//! One alone names nobody: whoever is [absent](ABSENT), while the active root is not valid yet by the
//! clock. Then we can present nothing, and who is not connected can acknowledge nothing.

use std::ops::RangeInclusive;
use std::time::Duration;

use countersign_fleet::gate::Waived;
use countersign_proto::convert::time::timestamp;
use countersign_proto::log as entry;
use countersign_proto::log::entry::What;
use countersign_refusal::Denied;
use jiff::Timestamp;
use tracing::{info, warn};

use super::reason::Act;
use super::state::{Change, Waiver};
use super::{Authority, AuthorityError};

/// What a waiver names that is for every consumer which is not connected. Names of consumers begin
/// with the ID of their node.
pub const ABSENT: &str = countersign_proto::ABSENT_CONSUMERS;
/// How long a waiver may last: a rotation that takes longer is looked at again.
pub(crate) const LASTING: RangeInclusive<Duration> =
    Duration::from_secs(60)..=Duration::from_secs(7 * 24 * 3_600);
/// Most consumers that one call waives.
pub(crate) const MAX_AT_ONCE: usize = 64;
/// Longest name of a consumer: two IDs and what a node may report of it.
const MAX_CONSUMER_BYTES: usize = 4_096;

impl Authority {
    /// Lets the pending root sign without these consumers, for so long.
    ///
    /// # Errors
    /// No root is pending; a bound; the log or the store is unavailable.
    pub async fn waive(
        &self,
        consumers: Vec<String>,
        lasting: Duration,
        act: Act,
        now: Timestamp,
    ) -> Result<Waiver, AuthorityError> {
        self.act(move |this| {
            let (consumers, act) = (consumers.clone(), act.clone());
            async move { this.waive_now(consumers, lasting, act, now).await }
        })
        .await
    }

    /// Has the pending root wait for a consumer again.
    ///
    /// # Errors
    /// It is not waived; the log or the store is unavailable.
    pub async fn unwaive(
        &self,
        consumer: String,
        operator: String,
        now: Timestamp,
    ) -> Result<(), AuthorityError> {
        self.act(move |this| {
            let (consumer, operator) = (consumer.clone(), operator.clone());
            async move { this.unwaive_now(consumer, operator, now).await }
        })
        .await
    }

    /// The waivers that count now, by the name of their consumer.
    pub fn waivers(&self, now: Timestamp) -> Vec<(String, Waiver)> {
        let Some(root) = self.prepared_root() else {
            return Vec::new();
        };
        let state = self.state.read();
        let of_root = state.waivers.of_root(&root.key_id);
        let counting = of_root.filter(|(_, waiver)| now < waiver.until);
        counting
            .map(|(consumer, waiver)| (consumer.clone(), waiver.clone()))
            .collect()
    }

    /// The same, for the gate.
    pub fn waived(&self, now: Timestamp) -> Waived {
        let waivers = self.waivers(now).into_iter();
        let ends = waivers.map(|(consumer, waiver)| (consumer, waiver.until));
        let (absent, by_name): (Vec<_>, Vec<_>) = ends.partition(|(name, _)| name == ABSENT);
        let absent = absent.first().map(|(_, until)| *until);
        Waived::new(by_name, absent.filter(|_| self.is_root_early(now)))
    }

    async fn waive_now(
        &self,
        consumers: Vec<String>,
        lasting: Duration,
        act: Act,
        now: Timestamp,
    ) -> Result<Waiver, AuthorityError> {
        let _one_at_a_time = self.turn().await?;
        let root = self.prepared_root().ok_or_else(nothing_pending)?.key_id;
        check(&consumers, lasting)?;
        if consumers.iter().any(|it| it == ABSENT) && !self.is_root_early(now) {
            return Err(root_is_valid().into());
        }
        self.state.read().waivers.check_room(&consumers)?;
        let waiver = Waiver {
            root,
            reason: act.reason.as_str().to_owned(),
            since: now,
            until: now.checked_add(lasting).unwrap_or(now),
        };
        let entry = |consumer: &String| {
            What::Waived(entry::Waived {
                consumer: consumer.clone(),
                root: waiver.root.clone(),
                reason: waiver.reason.clone(),
                operator: act.operator.clone(),
                until: Some(timestamp(waiver.until)),
            })
        };
        let what = consumers.iter().map(entry).collect();
        let waived = |it: &String| Change::Waiver(it.clone(), Some(waiver.clone()));
        let changes = consumers.iter().map(waived).collect();
        self.change(what, changes, Vec::new(), |_| (), now).await?;
        let Waiver {
            root,
            reason,
            until,
            ..
        } = &waiver;
        for consumer in consumers {
            warn!(consumer, root, reason, %until, operator = act.operator, "consumer waived");
        }
        Ok(waiver)
    }

    async fn unwaive_now(
        &self,
        consumer: String,
        operator: String,
        now: Timestamp,
    ) -> Result<(), AuthorityError> {
        let _one_at_a_time = self.turn().await?;
        let waivers = self.waivers(now).into_iter();
        let waiver = { waivers }.find(|(name, _)| *name == consumer);
        let (_, waiver) = waiver.ok_or_else(|| not_waived(&consumer))?;
        let what = What::Unwaived(entry::Unwaived {
            consumer: consumer.clone(),
            root: waiver.root,
            operator: operator.clone(),
        });
        let unwaived = vec![Change::Waiver(consumer.clone(), None)];
        self.change(vec![what], unwaived, Vec::new(), |_| (), now)
            .await?;
        info!(consumer, operator, "consumer no longer waived");
        Ok(())
    }
}

fn check(consumers: &[String], lasting: Duration) -> Result<(), Denied> {
    let is_name = |name: &String| (1..=MAX_CONSUMER_BYTES).contains(&name.len());
    if !(1..=MAX_AT_ONCE).contains(&consumers.len()) || !consumers.iter().all(is_name) {
        return Err(Denied {
            code: "waiver_consumers",
            message: format!("a call waives 1 to {MAX_AT_ONCE} consumers"),
            remedy: "name them as `countersign ca status` does, in several calls",
        });
    }
    if !LASTING.contains(&lasting) {
        return Err(Denied {
            code: "waiver_duration",
            message: "a waiver lasts 1 min to 7 days".to_owned(),
            remedy: "choose a --for within the bounds; it can be given again",
        });
    }
    Ok(())
}

fn nothing_pending() -> Denied {
    Denied {
        code: "nothing_pending",
        message: "no root waits to be activated: there is nothing to waive".to_owned(),
        remedy: "see `countersign ca status`",
    }
}

fn root_is_valid() -> Denied {
    Denied {
        code: "root_is_valid",
        message:
            "the active root is valid by this clock: who is absent can come back, and accepts \
                  what it signed"
                .to_owned(),
        remedy: "waive consumers by name, as `countersign ca status` does",
    }
}

fn not_waived(consumer: &str) -> Denied {
    Denied {
        code: "not_waived",
        message: format!("{consumer} is not waived"),
        remedy: "see `countersign ca status`",
    }
}
