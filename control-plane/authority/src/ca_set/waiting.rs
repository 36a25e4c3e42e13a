//! What a replica waits for whose issuing CA another replica signs, for people.

use countersign_ca::authorities::CaRecord;
use countersign_issue::profile::Tier;
use countersign_model::whole_second;

use super::CaSet;

impl CaSet {
    /// What is waited for, where an issuing CA was asked for.
    pub(crate) fn waits_for(&self) -> Option<String> {
        self.asked.as_ref()?;
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
