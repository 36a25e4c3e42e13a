//! What a replica waits for whose issuing CA another replica signs, for people.

use countersign_ca::authorities::CaRecord;
use countersign_issue::profile::Tier;
use countersign_model::whole_second;
use jiff::{SignedDuration, Timestamp};

use super::CaSet;
use crate::IssuingReplica;

/// An issuing CA is there in so much time as a rule, and nobody has to be told of it.
const AS_A_RULE: SignedDuration = SignedDuration::from_secs(60);

impl CaSet {
    /// Whose key signs our issuing CA, and until when we can issue.
    pub(crate) fn issuing_replica(&self, now: Timestamp) -> IssuingReplica {
        let lowest = self.lowest();
        let is_here = lowest.is_some_and(|it| self.key(&it.key_id).is_some());
        let own = is_here.then(|| self.own.clone());
        let issuing = self.active(Tier::Issuing);
        let issuing = issuing.filter(|it| self.key(&it.key_id).is_some() && it.not_after > now);
        IssuingReplica {
            name: self.own.clone(),
            signer: own.or_else(|| self.signer.clone().filter(|it| *it != self.own)),
            awaits_since: self.asked.as_ref().map(|asked| asked.request.at()),
            issues_until: issuing.map(|it| it.not_after),
        }
    }

    /// What is waited for longer than as a rule, where an issuing CA was asked for.
    pub(crate) fn waits_for(&self, now: Timestamp) -> Option<String> {
        let since = self.asked.as_ref()?.request.at();
        if now.duration_since(since).abs() < AS_A_RULE {
            return None;
        }
        let until = |ca: &CaRecord| format!("; it can issue until {}", whole_second(ca.not_after));
        let until = self.active(Tier::Issuing).map(until).unwrap_or_default();
        let who = self.who_signs();
        Some(format!(
            "this replica waits for its next issuing CA from {who}{until}"
        ))
    }

    /// Why this replica can issue nothing, where there is a root and no issuing CA of its own.
    pub(crate) fn why_no_issuing(&self) -> String {
        let who = match self.lowest() {
            Some(lowest) if self.key(&lowest.key_id).is_none() => self.who_signs(),
            _ => "itself".to_owned(),
        };
        format!("this replica has no issuing CA: it waits for one from {who}")
    }

    /// The replica that has the key above issuing CAs.
    pub(crate) fn who_signs(&self) -> String {
        match &self.signer {
            Some(replica) if *replica != self.own => {
                format!("replica {replica}, which signed one last")
            }
            _ => "the replica that has the key above it".to_owned(),
        }
    }
}
