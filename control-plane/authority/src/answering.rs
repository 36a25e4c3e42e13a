//! A replica that has the key of root or intermediate certifies the issuing CAs of those that have not.
//!
//! A request is answered once: its certificate is stored, as the active one of the replica that asked, in
//! the commit that removes the request. Bounded, for a replica may have gone mad: one request and one
//! certificate a minute for each, none beyond its share of CAs, none without a proof of its key.

use countersign_issue::profile::Tier;
use countersign_model::{Seq, TrustDomain};
use countersign_store::{Commit, Kind, Precondition, StoreError, Write};
use countersign_telemetry::{Principal, peer_line};
use jiff::Timestamp;
use tracing::info;

use super::ca_requests::{Asker, Judged, Rules};
use super::ca_set::{CaSet, Certified, Made};
use super::hierarchy::no_signer;
use super::{Authority, AuthorityError};

/// By what this replica judges requests.
struct Signs<'a> {
    authority: &'a Authority,
    parent: String,
    /// The keys of all CAs.
    cas: Vec<String>,
}

impl Rules for Signs<'_> {
    fn trust_domain(&self) -> &TrustDomain {
        self.authority.trust_domain()
    }

    fn parent(&self) -> &str {
        &self.parent
    }

    fn may_join(&self, replica: &str) -> bool {
        self.authority.may_join(replica)
    }

    fn is_ca(&self, key_id: &str) -> bool {
        self.cas.iter().any(|ca| ca == key_id)
    }
}

impl Authority {
    /// Whether a replica of this name may have an issuing CA.
    pub(super) fn may_join(&self, replica: &str) -> bool {
        self.state.read().replicas.is_joined(replica)
    }

    /// What is to be done now with requests of other replicas; nothing where the key that they need is
    /// not here.
    pub(super) fn asked_of_us(&self, now: Timestamp) -> Vec<Judged> {
        let parent = {
            let cas = self.hierarchy.read();
            let parent = cas.lowest().filter(|parent| {
                let is_ready = parent.store.is_some_and(|store| self.is_ready(store));
                is_ready && cas.key(&parent.key_id).is_some()
            });
            parent.map(|parent| parent.key_id.clone())
        };
        let (Some(parent), false) = (parent, self.settings.replica().is_empty()) else {
            return Vec::new();
        };
        let rules = Signs {
            authority: self,
            parent,
            cas: self.hierarchy.read().key_ids(),
        };
        self.hierarchy
            .requests(|requests| requests.due(&rules, now))
    }

    /// Answers the requests of other replicas. One that fails stops no other.
    pub(super) async fn answer(&self, now: Timestamp) -> Result<(), AuthorityError> {
        let mut all = Ok(());
        for judged in self.asked_of_us(now) {
            let done = match judged {
                Judged::Answer(asker) => self.answer_one(asker, now).await,
                Judged::Forget(replica, seq) => self.forget_request(replica, seq).await,
                Judged::Refuse(replica, seq, bad) => {
                    let principal = Principal::part("requests of replicas");
                    peer_line!(WARN, principal, replica, error = %bad, "request of an issuing CA refused");
                    self.forget_request(replica, seq).await
                }
            };
            all = all.and(done);
        }
        all
    }

    async fn answer_one(&self, asker: Asker, now: Timestamp) -> Result<(), AuthorityError> {
        self.to_the_end(async move |this| {
            let _one_at_a_time = this.turn().await?;
            let mut next = this.hierarchy.read().clone();
            this.hierarchy
                .requests(|requests| requests.answers(&asker.replica, now));
            next.authorities
                .slots()
                .may_activate_issuing(&asker.replica, &asker.key_id)?;
            let made = this.certify_asker(&mut next, &asker, now).await;
            this.replace(made, next, [], now).await?;
            let Asker {
                replica, key_id, ..
            } = asker;
            info!(replica, key_id, "issuing CA of another replica certified");
            Ok(())
        })
        .await
    }

    /// Certifies the key of a replica that asked, and activates its issuing CA in `next`.
    pub(super) async fn certify_asker(
        &self,
        next: &mut CaSet,
        asker: &Asker,
        now: Timestamp,
    ) -> Result<(), AuthorityError> {
        let parent = next.lowest().ok_or_else(no_signer)?.tier;
        let (parent, parent_key) = next.signer(parent).ok_or_else(no_signer)?;
        next.made.push(Made {
            key_id: asker.key_id.clone(),
            held: None,
            signed: None,
        });
        let certified = Certified {
            tier: Tier::Issuing,
            owner: &asker.replica,
            store: asker.store,
            key_id: &asker.key_id,
            spki: &asker.spki,
        };
        let signer = (&parent, parent_key.as_ref());
        let record = self.certify_ca(next, certified, signer, now).await?;
        next.activate_issuing(record, &parent.key_id)?;
        next.answers = Some((asker.replica.clone(), asker.asked));
        Ok(())
    }

    async fn forget_request(&self, replica: String, seq: Seq) -> Result<(), AuthorityError> {
        let as_read = Precondition::Unchanged(Kind::CaRequest, replica.clone(), seq);
        let commit = Commit {
            writes: vec![Write::remove(Kind::CaRequest, replica.clone())],
            preconditions: vec![as_read],
            ..Commit::default()
        };
        // The replica may ask again in the commit after this one.
        let take = move |this: &Self, seq| {
            this.hierarchy
                .requests(|requests| requests.forget(&replica));
            this.state.announce(seq, []);
        };
        match self.commit_then(commit, take).await {
            Ok(()) => Ok(()),
            // It was made anew, or another has forgotten it.
            Err(StoreError::Conflict) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
