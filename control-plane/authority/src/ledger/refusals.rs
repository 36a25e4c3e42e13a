//! Refusals of authenticated callers, gathered so that a caller who is refused a thousand times a
//! second costs one entry of the log: one for each caller, reason and interval, with a count.

use std::collections::HashMap;

use countersign_proto::convert::time::timestamp;
use countersign_proto::log::Refused;
use countersign_proto::log::entry::What;
use countersign_refusal::Denied;
use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};

use super::Ledger;
use crate::AuthorityError;

/// How long refusals are gathered before they are logged.
const INTERVAL: SignedDuration = SignedDuration::from_secs(60);
/// Most pairs of caller and reason that are kept apart; those beyond are counted together.
const MAX_PAIRS: usize = 4_096;
/// The caller of refusals beyond [`MAX_PAIRS`].
const OTHERS: &str = "others";

/// Refusals that are not logged yet.
#[derive(Debug, Default)]
pub(super) struct Refusals(HashMap<(String, &'static str), Gathered>);

#[derive(Debug)]
struct Gathered {
    count: u64,
    since: Timestamp,
}

impl Refusals {
    /// Counts a refusal.
    pub(super) fn count(&mut self, caller: &str, code: &'static str, now: Timestamp) {
        let mut pair = (caller.to_owned(), code);
        if self.0.len() >= MAX_PAIRS && !self.0.contains_key(&pair) {
            pair.0 = OTHERS.to_owned();
        }
        let gathered = self.0.entry(pair).or_insert(Gathered {
            count: 0,
            since: now,
        });
        gathered.count += 1;
    }

    /// What is due at `now`: pairs whose interval is over, or all of them at the end.
    pub(super) fn due(&mut self, now: Timestamp, is_end: bool) -> Vec<Refused> {
        let is_due = |gathered: &Gathered| is_end || now.duration_since(gathered.since) >= INTERVAL;
        let due = self.0.extract_if(|_, gathered| is_due(gathered));
        let mut due: Vec<_> = due
            .map(|((caller, code), gathered)| Refused {
                caller,
                code: code.to_owned(),
                count: gathered.count,
                since: Some(timestamp(gathered.since)),
            })
            .collect();
        due.sort_by(|a, b| (&a.caller, &a.code).cmp(&(&b.caller, &b.code)));
        due
    }
}

impl Ledger {
    /// An authenticated caller was refused: it will be in the log.
    pub(crate) fn refused(&self, caller: &str, denied: &Denied, now: Timestamp) {
        self.write().refusals.count(caller, denied.code, now);
    }

    /// Logs the refusals that are due.
    ///
    /// # Errors
    /// The log took none or not all; the counts of those that it did not take are lost, the log of
    /// the process has them.
    pub(crate) async fn log_refusals(
        &self,
        now: Timestamp,
        is_end: bool,
    ) -> Result<(), AuthorityError> {
        let due = self.write().refusals.due(now, is_end);
        let notes = due
            .into_iter()
            .map(|refused| self.log.note(now, What::Refused(refused)));
        let mut noted = join_all(notes).await.into_iter();
        Ok(noted.try_for_each(|noted| noted.map(drop))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    #[test]
    fn one_entry_for_each_caller_reason_and_interval() {
        let mut refusals = Refusals::default();
        for second in 0..50 {
            refusals.count("a", "not_entitled", at(second));
        }
        refusals.count("a", "key", at(20));
        refusals.count("b", "key", at(20));
        assert!(refusals.due(at(59), false).is_empty());
        let due = refusals.due(at(60), false);
        assert_eq!(due.len(), 1);
        assert_eq!((due[0].caller.as_str(), due[0].count), ("a", 50));
        assert_eq!(refusals.due(at(61), true).len(), 2);
        assert!(refusals.due(at(600), true).is_empty());
    }

    #[test]
    fn callers_beyond_the_bound_are_counted_together() {
        let mut refusals = Refusals::default();
        for caller in 0..MAX_PAIRS + 10 {
            refusals.count(&caller.to_string(), "key", at(0));
        }
        let due = refusals.due(at(60), false);
        assert_eq!(due.len(), MAX_PAIRS + 1);
        let others = due.iter().find(|refused| refused.caller == OTHERS);
        assert_eq!(others.map(|refused| refused.count), Some(10));
    }
}
