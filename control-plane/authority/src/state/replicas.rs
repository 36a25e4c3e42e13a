//! Every control plane that shares the database, as the state knows it.

use std::collections::BTreeMap;
use std::time::Duration;

use countersign_fleet::replicas::{CLOCKS_AGREE, Heard, Membership, ReplicaFacts};
use countersign_model::Seq;
use countersign_model::address::HttpsAddress;
use countersign_refusal::Denied;
use countersign_store::{Kind, Precondition};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// Most control planes of a database that were not sealed: each takes every commit of the others.
pub const MAX_REPLICAS: usize = 16;
/// A control plane that was not heard of for longer is not asked about the time.
const HEARD_LATELY: SignedDuration = SignedDuration::from_secs(30);
/// Sidecars are told of a control plane so long after it was last heard of.
const TOLD_FOR: Duration = Duration::from_secs(60);
/// Most control planes whose words are kept: those that are there, and as many that are gone.
const MAX_HEARTBEATS: usize = 4 * MAX_REPLICAS;

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

    fn membership(&self) -> Membership {
        match self {
            Self::Invited { until, .. } => Membership::Invited(*until),
            Self::Joined { since, .. } => Membership::Joined(*since),
            Self::Sealed { since, .. } => Membership::Sealed(*since),
        }
    }

    /// Whether it may issue.
    pub fn is_joined(&self) -> bool {
        matches!(self, Self::Joined { .. })
    }
}

/// Every control plane that shares the database; none where the state is in files.
#[derive(Debug, Default)]
pub(crate) struct Replicas {
    known: BTreeMap<String, Known>,
    /// What those that joined last said of themselves, and the commit before the one that says so.
    heartbeats: BTreeMap<String, (Heartbeat, u64)>,
    /// When each was heard of last, which no clock that is set changes: those that are in `heartbeats`.
    moments: BTreeMap<String, Instant>,
}

/// What a control plane says of itself now and then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The version that runs.
    pub version: String,
    /// The newest commit that it had taken.
    pub sequence: u64,
    /// Open streams of sidecars.
    pub streams: u64,
    /// When it said so, by its own clock.
    pub at: Timestamp,
    /// Where sidecars reach it, if it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Whether it has the key above issuing CAs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certifies: Option<bool>,
    /// Since when nothing of it is taken any more: whoever fenced it out says so in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fenced_at: Option<Timestamp>,
}

impl Heartbeat {
    /// Of one that never said anything.
    pub(crate) fn unheard(now: Timestamp) -> Self {
        Self {
            version: String::new(),
            sequence: 0,
            streams: 0,
            at: now,
            address: None,
            certifies: None,
            fenced_at: None,
        }
    }
}

/// One of them, as it is known here.
#[derive(Debug)]
struct Known {
    replica: Replica,
    /// The commit that wrote it.
    seq: Seq,
    /// When the last commit of it was taken here, as far as that tells whose it is.
    heard: Option<Timestamp>,
    /// Whether our own log names its log.
    is_named: bool,
}

impl Replicas {
    /// Takes what a commit wrote of one.
    pub(crate) fn written(&mut self, name: String, replica: Option<Replica>, seq: Seq) {
        let Some(replica) = replica else {
            self.known.remove(&name);
            return;
        };
        let before = self.known.get(&name);
        let known = Known {
            replica,
            seq,
            heard: before.and_then(|it| it.heard),
            is_named: before.is_some_and(|it| it.is_named),
        };
        self.known.insert(name, known);
    }

    /// Takes what a control plane says of itself. A start may hear of it before the control plane is known.
    pub(crate) fn said(&mut self, name: String, heartbeat: Option<Heartbeat>, seq: Seq) {
        let is_heard = |_: &Heartbeat| {
            let has_room = self.heartbeats.len() < MAX_HEARTBEATS;
            has_room || self.heartbeats.contains_key(&name)
        };
        match heartbeat.filter(is_heard) {
            Some(heartbeat) => {
                let said = (heartbeat, seq.0.saturating_sub(1));
                self.heartbeats.insert(name, said);
            }
            None => {
                self.moments.remove(&name);
                self.heartbeats.remove(&name);
            }
        }
    }

    /// A control plane was heard of at this moment.
    pub(crate) fn heard_heartbeat(&mut self, name: &str, moment: Instant) {
        if self.heartbeats.contains_key(name) {
            self.moments.insert(name.to_owned(), moment);
        }
    }

    /// Whether no control plane with a name before this one was heard of lately.
    pub(crate) fn is_first(&self, own: &str, moment: Instant) -> bool {
        let before = self.moments.iter().filter(|(name, _)| name.as_str() < own);
        let lately = |heard: &Instant| {
            let since = moment.saturating_duration_since(*heard);
            SignedDuration::try_from(since).is_ok_and(|since| since <= HEARD_LATELY)
        };
        let mut before = before.filter(|(_, heard)| lately(heard));
        !before.any(|(name, _)| self.is_joined(name))
    }

    /// A control plane that was heard of lately and whose clock differs from that of this one, which says
    /// `now` at this moment; and by how much it is ahead.
    pub(crate) fn other_clock(
        &self,
        now: Timestamp,
        moment: Instant,
    ) -> Option<(&str, SignedDuration)> {
        let ahead = |(name, heard): (&'_ String, &Instant)| {
            let since = moment.saturating_duration_since(*heard);
            let said = self.heartbeat(name)?.at.duration_since(now);
            let since = SignedDuration::try_from(since).ok()?;
            (since <= HEARD_LATELY).then_some(said + since)
        };
        let mut heard = self.moments.iter();
        heard.find_map(|(name, at)| {
            let ahead = ahead((name, at)).filter(|ahead| ahead.abs() > CLOCKS_AGREE)?;
            Some((name.as_str(), ahead))
        })
    }

    /// What a control plane last said of itself.
    pub(crate) fn heartbeat(&self, name: &str) -> Option<&Heartbeat> {
        self.heartbeats.get(name).map(|(said, _)| said)
    }

    /// The same as it is judged by, and how long ago it was heard.
    fn heard_of(&self, name: &str, moment: Instant) -> Option<Heard> {
        let (said, newest) = self.heartbeats.get(name)?;
        let ago = |heard: &Instant| moment.saturating_duration_since(*heard);
        Some(Heard {
            ago: self.moments.get(name).map(ago),
            at: said.at,
            sequence: said.sequence,
            newest: *newest,
        })
    }

    /// Where sidecars reach those that are there, or were a moment ago: one that is started again is not
    /// forgotten meanwhile.
    pub(crate) fn addresses(&self, own: &str, now: Timestamp, moment: Instant) -> Vec<String> {
        let others = self.known.keys().filter(|name| name.as_str() != own);
        let there = others.filter(|name| {
            let facts = self.facts(name, moment);
            facts.is_some_and(|facts| facts.was_there_within(TOLD_FOR, now))
        });
        let said = there.filter_map(|name| self.heartbeat(name)?.address.clone());
        said.filter(|it| it.parse::<HttpsAddress>().is_ok())
            .collect()
    }

    /// What one of them is judged by, but for its issuing CA.
    pub(crate) fn facts(&self, name: &str, moment: Instant) -> Option<ReplicaFacts> {
        Some(ReplicaFacts {
            membership: self.get(name)?.membership(),
            heard: self.heard_of(name, moment),
            fenced: self.heartbeat(name).and_then(|said| said.fenced_at),
            issues_until: None,
        })
    }

    /// One of them.
    pub(crate) fn get(&self, name: &str) -> Option<&Replica> {
        self.known.get(name).map(|it| &it.replica)
    }

    /// What must hold for a change of one: it is as it was read, by its own start above all.
    pub(crate) fn as_read(&self, name: &str) -> Precondition {
        let name = name.to_owned();
        match self.known.get(&name) {
            Some(known) => Precondition::Unchanged(Kind::Replica, name, known.seq),
            None => Precondition::Absent(Kind::Replica, name),
        }
    }

    /// A commit of another was taken: what it says of itself, or an entry of its log.
    pub(crate) fn hear(&mut self, name: &str, now: Timestamp) {
        if let Some(known) = self.known.get_mut(name) {
            known.heard = Some(now);
        }
    }

    /// Whose log it is.
    pub(crate) fn of_log(&self, log_id: u32) -> Option<String> {
        let its = self.iter().find(|(_, it)| it.log_id() == Some(log_id));
        its.map(|(name, _)| name.to_owned())
    }

    /// When the last commit of another was taken.
    pub(crate) fn heard(&self, name: &str) -> Option<Timestamp> {
        self.known.get(name)?.heard
    }

    /// Our own log names these logs.
    pub(crate) fn named(&mut self, logs: &[u32]) {
        for known in self.known.values_mut() {
            let log_id = known.replica.log_id();
            known.is_named |= log_id.is_some_and(|it| logs.contains(&it));
        }
    }

    /// The logs that our own log, which is not one of them, names or should; with whether it does.
    pub(crate) fn logs(&self, own: u32) -> impl Iterator<Item = (&str, u32, bool)> {
        let logs = self.known.iter().filter_map(|(name, it)| {
            let log_id = it.replica.log_id()?;
            Some((name.as_str(), log_id, it.is_named))
        });
        logs.filter(move |(_, log_id, _)| *log_id != own)
    }

    /// All of them, by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Replica)> {
        let all = self.known.iter();
        all.map(|(name, it)| (name.as_str(), &it.replica))
    }

    /// Whether a control plane of this name may issue.
    pub(crate) fn is_joined(&self, name: &str) -> bool {
        self.get(name).is_some_and(Replica::is_joined)
    }

    /// Whether a log is that of one of them.
    pub(crate) fn has_log(&self, log_id: u32) -> bool {
        self.iter().any(|(_, it)| it.log_id() == Some(log_id))
    }

    /// Whether one may be invited under this name, in place of an invitation that waits.
    ///
    /// # Errors
    /// The name is or was another's, or there are too many.
    pub(crate) fn check_room(&self, name: &str) -> Result<(), Denied> {
        match self.get(name) {
            Some(Replica::Joined { .. }) => return Err(known(name, "is a control plane here")),
            Some(Replica::Sealed { .. }) => return Err(known(name, "was sealed")),
            Some(Replica::Invited { .. }) => return Ok(()),
            None => {}
        }
        let open = { self.iter() }.filter(|(_, it)| !matches!(it, Replica::Sealed { .. }));
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

fn known(name: &str, what: &str) -> Denied {
    Denied {
        code: "replica_known",
        message: format!("{name} {what}"),
        remedy: "choose another name; see `countersign replica list`",
    }
}
