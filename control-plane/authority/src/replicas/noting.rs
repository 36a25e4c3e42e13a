//! The logs of the other control planes, named in our own: who audits one of them learns of all.

use countersign_proto::log::Joined;
use countersign_proto::log::entry::What;
use countersign_store::{Kind, Write};
use jiff::Timestamp;

use crate::record::NotCommitted;
use crate::{Authority, AuthorityError};

/// Key in the store: the logs of others that our own log names.
pub(crate) const JOINED: &str = "logs_named";

impl Authority {
    /// Names the logs in our own that it does not name yet. Whoever is alone with its files names none: rows in
    /// them are those of a database that the state came from. The caller holds `writing`.
    pub(crate) async fn note_joined(&self, now: Timestamp) -> Result<(), AuthorityError> {
        if self.settings.replica().is_empty() {
            return Ok(());
        }
        let own = self.ledger.log().id();
        let (what, named) = {
            let state = self.state.read();
            let logs = || state.replicas.logs(own);
            let unnamed = logs().filter(|(.., is_noted)| !is_noted);
            let joined = unnamed.map(|(name, log_id, _)| {
                let replica = name.to_owned();
                What::Joined(Joined { log_id, replica })
            });
            let named: Vec<_> = logs().map(|(_, log_id, _)| log_id).collect();
            (joined.collect::<Vec<_>>(), named)
        };
        if what.is_empty() {
            return Ok(());
        }
        let writes = vec![Write::put(Kind::Meta, self.facts.key(JOINED), &named)];
        let take = move |this: &Self, _| this.state.write().replicas.named(&named);
        let noted = self.commit_logged(what, writes, Vec::new(), take, now);
        let noted: Result<_, NotCommitted> = noted.await;
        Ok(noted.map(drop)?)
    }
}
