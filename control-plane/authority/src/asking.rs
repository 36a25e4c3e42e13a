//! A replica that has not the key of root or intermediate asks for its issuing CA.
//!
//! Its key is made here and never leaves. The request waits in the store; the replica that has the
//! parent's key stores the certificate as the active one of this replica, in the commit that removes the
//! request ([`super::answering`]). It is found by its key id when that commit is taken
//! ([`super::taking_cas`]). Until then the issuing CA before it goes on, where there is one.

use countersign_ca::key::KeyError;
use countersign_issue::profile::Tier;
use countersign_model::Seq;
use countersign_refusal::{Denied, Unavailable};
use countersign_store::{Commit, Entry, Kind, Write};
use jiff::Timestamp;
use tracing::{info, warn};

use super::ca_requests::CaRequested;
use super::ca_set::{AskedKey, CaSet, HeldKey};
use super::hierarchy::no_signer;
use super::{Authority, AuthorityError};

/// Key in the store: the replica that signed an issuing CA last.
pub(super) const CA_SIGNER: &str = "ca_signer";

impl Authority {
    /// Whether this replica must ask for an issuing CA under `parent`: its key is elsewhere, and no
    /// request of ours stands.
    pub(super) fn must_ask(&self, cas: &CaSet, parent: Tier, now: Timestamp) -> bool {
        let Some(parent) = cas.active(parent) else {
            return false;
        };
        if !cas.shares(parent) || cas.key(&parent.key_id).is_some() {
            return false;
        }
        let asked = cas.asked.as_ref();
        let stands = asked.is_some_and(|it| it.request.stands(&parent.key_id, now));
        !stands && self.is_ready(self.settings.hierarchy.issuing)
    }

    /// Whether another replica has the key above our issuing CA.
    pub(super) fn asks_for_issuing(&self) -> bool {
        let cas = self.hierarchy.read();
        let lowest = cas.lowest();
        lowest.is_some_and(|it| cas.shares(it)) && !cas.has_key(self.parent_tier(&cas))
    }

    /// Asks for an issuing CA because an operator wants another one. A request that stands is enough.
    pub(super) async fn ask_by_hand<T>(&self, now: Timestamp) -> Result<T, AuthorityError> {
        let (who, must) = {
            let cas = self.hierarchy.read();
            let parent = self.parent_tier(&cas);
            (cas.who_signs(), self.must_ask(&cas, parent, now))
        };
        if must {
            self.ask(now).await?;
        }
        Err(AuthorityError::Denied(Denied {
            code: "issuing_ca_asked",
            message: format!(
                "the key above issuing CAs is not here: the next one was asked of {who}"
            ),
            remedy: "it signs once it is there; see `countersign ca status`",
        }))
    }

    /// Asks for an issuing CA. A key that was asked for before is asked for again.
    pub(super) async fn ask(&self, now: Timestamp) -> Result<(), AuthorityError> {
        self.to_the_end(async move |this| {
            let _one_at_a_time = this.turn().await?;
            let (parent, asked) = {
                let cas = this.hierarchy.read();
                let parent = cas.lowest().ok_or_else(no_signer)?;
                let asked = cas.asked.as_ref().map(|it| it.held.clone());
                (parent.key_id.clone(), asked)
            };
            let is_new = asked.is_none();
            let held = match asked {
                Some(held) => held,
                None => this.create_key(this.settings.hierarchy.issuing)?,
            };
            let made = this.store_request(&held, &parent, now).await;
            // Also where it may be stored all the same: a request whose key is gone is made anew.
            made.inspect_err(|_| {
                if is_new {
                    this.destroy(&held);
                }
            })
        })
        .await
    }

    async fn store_request(
        &self,
        held: &HeldKey,
        parent: &str,
        now: Timestamp,
    ) -> Result<(), AuthorityError> {
        let own = self.settings.replica();
        let who = (self.trust_domain(), own);
        let request = CaRequested::new(held.key.as_ref(), held.store, who, parent, now)?;
        let commit = Commit {
            writes: vec![Write::put(Kind::CaRequest, own, &request)],
            ..Commit::default()
        };
        let held = held.clone();
        let key_id = held.key.key_id().to_owned();
        // The answer may be the commit after this one, and is found by the key.
        let take = |this: &Self, seq| {
            let asked = Some(AskedKey { held, request });
            this.hierarchy.update(|cas| cas.asked = asked);
            this.state.announce(seq, []);
        };
        self.commit_then(commit, take).await?;
        info!(key_id, parent, "issuing CA asked for");
        Ok(())
    }

    /// The key that was asked for and is not needed any more in `next`.
    pub(super) fn unasked(&self, next: &CaSet) -> Option<HeldKey> {
        let asked = self.hierarchy.read().asked.clone()?;
        next.asked.is_none().then_some(asked.held)
    }

    /// What a change of the CAs has the other replicas know beside them: that a request is answered, or
    /// that ours is withdrawn, and who signs issuing CAs.
    pub(super) fn told_to_replicas(&self, next: &mut CaSet) -> Vec<Write> {
        let own = next.own().to_owned();
        let mut told = Vec::new();
        if let Some((replica, _)) = &next.answers {
            told.push(Write::remove(Kind::CaRequest, replica.clone()));
        }
        if self.unasked(next).is_some() {
            told.push(Write::remove(Kind::CaRequest, own.clone()));
        }
        let has_signed = next.has_issuing_beyond(&self.hierarchy.read().authorities);
        if has_signed && !own.is_empty() && next.signer.as_deref() != Some(&own) {
            told.push(Write::put(Kind::Meta, CA_SIGNER, &own));
            next.signer = Some(own);
        }
        told
    }

    /// Takes what another replica committed of requests, and who signs now. Gives our key of a request
    /// that was dropped and not answered.
    pub(super) fn take_requests(
        &self,
        seq: Seq,
        writes: &[Write],
        next: &mut CaSet,
    ) -> Result<Option<HeldKey>, AuthorityError> {
        let mut dropped = None;
        for write in writes {
            match write.kind {
                Kind::CaRequest if write.key == next.own() => {
                    dropped = next.asked.take().map(|asked| asked.held);
                }
                Kind::CaRequest => {
                    self.hierarchy
                        .requests(|requests| requests.take(write, seq));
                }
                Kind::Meta if write.key == CA_SIGNER => next.signer = write.read()?,
                _ => {}
            }
        }
        Ok(dropped)
    }

    /// Finds the requests again that were made before a start, and the key of our own.
    pub(super) fn restore_requests(&self, entries: &[Entry]) -> Result<(), AuthorityError> {
        for entry in entries.iter().filter(|it| it.kind == Kind::CaRequest) {
            // One that does not read is none, and is made anew.
            let Ok(request) = entry.read::<CaRequested>() else {
                continue;
            };
            if entry.key == self.settings.replica() {
                let held = self.asked_key(&request)?;
                let asked = held.map(|held| AskedKey { held, request });
                self.hierarchy.update(|cas| cas.asked = asked);
            } else {
                self.hierarchy
                    .requests(|requests| requests.note(&entry.key, request, entry.seq));
            }
        }
        Ok(())
    }

    /// The key that was asked for; `None` where it is gone, for which another is made.
    fn asked_key(&self, request: &CaRequested) -> Result<Option<HeldKey>, AuthorityError> {
        let damaged = || Unavailable::damaged("a stored request of an issuing CA is damaged");
        let (spki, store) = request.key().ok_or_else(damaged)?;
        let key_id = countersign_issue::key::key_id(&spki);
        match self.hierarchy.stores().load(store, &key_id, &spki) {
            Ok(key) => Ok(Some(HeldKey { store, key })),
            Err(KeyError::Gone(_)) => {
                warn!(key_id, %store, "key of the issuing CA that was asked for is gone; another is made");
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }
}
