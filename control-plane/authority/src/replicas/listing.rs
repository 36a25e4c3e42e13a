//! Every control plane of the database as operators see it, from any of them.

use std::time::Duration;

use countersign_fleet::replicas::{Heard, ReplicaFacts, ReplicaStanding};
use jiff::Timestamp;
use tokio::time::Instant;

use super::sealing::Sealing;
use crate::state::{Heartbeat, Replica};
use crate::{Authority, AuthorityInfo, SlotState};

/// One control plane of those that share the database.
#[derive(Clone, Debug)]
pub struct ListedReplica {
    /// Its name.
    pub name: String,
    /// What its name says.
    pub replica: Replica,
    /// Whether it is the one that answers.
    pub answers: bool,
    /// How it stands.
    pub standing: ReplicaStanding,
    /// What it last said of itself; of the one that answers, what is so.
    pub said: Option<Heartbeat>,
    /// Its active issuing CA.
    pub issuing: Option<AuthorityInfo>,
    /// Whether it removes what only time ends: the first by name of those that are there.
    pub ends_by_time: bool,
    /// How far the seal of its log is, where the one that answers makes it.
    pub sealing: Option<Sealing>,
}

impl Authority {
    /// All of them, by name. None where the state is in files.
    pub fn listed_replicas(&self, now: Timestamp) -> Vec<ListedReplica> {
        let issuing = self.tiers().issuing;
        let (moment, own) = (Instant::now(), self.replica_name());
        let mut first_that_lives = None;
        let clocks_agree = self.clocks_differ(now).is_none();
        let own_words = self.own_heartbeat(now);
        let state = self.state.read();
        let mut listed = Vec::new();
        for (name, replica) in state.replicas.iter() {
            let answers = name == own;
            let mut active = issuing.iter().filter(|ca| ca.state == SlotState::Active);
            let ca = active.find(|ca| ca.replica == name);
            let facts = state
                .replicas
                .facts(name, moment)
                .expect("it is one of them");
            let facts = ReplicaFacts {
                heard: match answers {
                    true => Some(self.own_heard(&own_words)),
                    false => facts.heard,
                },
                issues_until: ca.map(|ca| ca.not_after),
                ..facts
            };
            let said = match answers {
                true => Some(own_words.clone()),
                false => state.replicas.heartbeat(name).cloned(),
            };
            let is_first = facts.is_live(now) && first_that_lives.get_or_insert(name) == &name;
            listed.push(ListedReplica {
                name: name.to_owned(),
                replica: replica.clone(),
                answers,
                standing: facts.standing(now),
                said,
                issuing: ca.cloned(),
                ends_by_time: is_first && clocks_agree,
                sealing: self.sealing_of(name),
            });
        }
        listed
    }

    fn own_heard(&self, own: &Heartbeat) -> Heard {
        let newest = self.store.follow().map(|newest| newest.borrow().0);
        Heard {
            ago: Some(Duration::ZERO),
            at: own.at,
            sequence: own.sequence,
            newest: newest.unwrap_or_default(),
        }
    }
}
