//! Adding, updating and removing registrations.

use countersign_issue::profile::Profile;
use countersign_model::{EntitlementId, Registration, SpiffeId};
use countersign_proto::log::Registered;
use countersign_proto::log::entry::What;
use countersign_refusal::Denied;
use countersign_registry::{Kept, TombstoneKey, rules};
use jiff::Timestamp;
use tracing::info;

use super::removal::Reason;
use super::state::Change;
use super::{Authority, AuthorityError, RegistrationRequest, Removed};

/// A registration that is about to be kept.
struct Draft {
    registration: Registration,
    /// Whether certificates from before are superseded.
    raises: bool,
    before: Option<Kept>,
}

impl Draft {
    /// What is kept when its entry is at this index of the log.
    fn kept_at(&self, index: u64) -> Kept {
        let mut registration = self.registration.clone();
        if self.before.is_none() {
            registration.created_seq = index;
        }
        let present = self.before.as_ref().map_or(0, |before| before.key_epoch);
        Kept {
            registration,
            key_epoch: if self.raises { index } else { present },
        }
    }

    /// What changes when its entry is at this index of the log; its tombstone goes.
    fn changes(&self, index: u64) -> Vec<Change> {
        let registered = Change::registered(self.kept_at(index));
        let tombstone = TombstoneKey::of(&self.registration.key);
        let tombstone = tombstone.map(|key| Change::Tombstone(key, None));
        [registered].into_iter().chain(tombstone).collect()
    }

    fn entry(&self, entitlement: &EntitlementId) -> What {
        let registration = serde_json::to_string(&self.registration);
        What::Registered(Registered {
            entitlement: entitlement.to_string(),
            registration: registration.expect("our records are plain JSON"),
            updated: self.before.is_some(),
        })
    }
}

impl Authority {
    /// Adds a registration or updates the one with the same key; says whether it was there.
    ///
    /// # Errors
    /// The rule that refuses it.
    pub async fn register(
        &self,
        request: RegistrationRequest,
        now: Timestamp,
    ) -> Result<(Registration, bool), AuthorityError> {
        let policy = &self.settings.policy;
        policy.judge_criticality(&request.registration, request.names_criticality)?;
        self.to_the_end(async move |this| this.register_now(request.registration, now).await)
            .await
    }

    /// Removes registrations by ID, on one node or on all.
    ///
    /// # Errors
    /// Nothing is registered so.
    pub async fn unregister(
        &self,
        id: &SpiffeId,
        node: Option<&SpiffeId>,
        now: Timestamp,
    ) -> Result<Removed, AuthorityError> {
        let (id, node) = (id.clone(), node.cloned());
        self.to_the_end(async move |this| this.unregister_now(&id, node.as_ref(), now).await)
            .await
    }

    async fn register_now(
        &self,
        wanted: Registration,
        now: Timestamp,
    ) -> Result<(Registration, bool), AuthorityError> {
        let _one_at_a_time = self.writing.lock().await;
        rules::check(&wanted, self.trust_domain(), self.settings.issuing_ttl)?;
        if let Some(ttl) = wanted.x509_ttl {
            self.settings.times.of(Profile::Svid).allow(ttl)?;
        }
        self.state.read().registry.judge(&wanted, None, now)?;
        self.ids_stay_apart(&wanted)?;
        let entitlement = wanted.key.entitlement_id();
        let draft = self.draft(wanted, now);
        match &draft.before {
            Some(before) if *before == draft.kept_at(0) => {
                return Ok((before.registration.clone(), true));
            }
            Some(_) => {}
            None => self.state.read().registry.check_room()?,
        }
        let what = vec![draft.entry(&entitlement)];
        let changed = self.change(what, |index| draft.changes(index), |_| (), now);
        let (index, ()) = changed.await?;
        let kept = draft.kept_at(index);
        let key = &kept.registration.key;
        info!(spiffe_id = %key.id, node = key.node().map(tracing::field::display), "registered");
        Ok((kept.registration, draft.before.is_some()))
    }

    async fn unregister_now(
        &self,
        id: &SpiffeId,
        node: Option<&SpiffeId>,
        now: Timestamp,
    ) -> Result<Removed, AuthorityError> {
        let _one_at_a_time = self.writing.lock().await;
        let registrations = self.state.read().registry.of_id(id, node);
        if registrations.is_empty() {
            return Err(AuthorityError::Denied(Denied {
                code: "not_found",
                message: format!("{id} is not registered there"),
                remedy: "see `countersign list`",
            }));
        }
        let valid_until = self
            .remove(&registrations, Reason::Unregistered, now)
            .await?;
        Ok(Removed {
            registrations,
            valid_until,
        })
    }

    /// No ID is both a node's and a workload's: a workload could pass for a node.
    fn ids_stay_apart(&self, wanted: &Registration) -> Result<(), Denied> {
        let state = self.state.read();
        if state.is_node(&wanted.key.id) {
            return Err(rules::id_is_node(&wanted.key.id));
        }
        match wanted.key.node() {
            Some(node) if state.registry.is_workload(node) => Err(rules::node_is_workload(node)),
            _ => Ok(()),
        }
    }

    /// What will be kept, and what is kept now. A change of what certificates say raises the key
    /// epoch; so does a return after a removal. Owner, criticality, labels and end do not.
    fn draft(&self, wanted: Registration, now: Timestamp) -> Draft {
        let state = self.state.read();
        let before = state.registry.of_key(&wanted.key).cloned();
        // A removal is not remembered of what is signed by hand: every beginning is a return.
        let returned = wanted.key.node().is_none_or(|node| {
            let entitlement = wanted.key.entitlement_id();
            state.registry.tombstones.contains(node, &entitlement)
        });
        let mut registration = wanted;
        let raises = match &before {
            Some(Kept {
                registration: old, ..
            }) => {
                registration.created_at = old.created_at;
                registration.created_seq = old.created_seq;
                old.dns != registration.dns || old.x509_ttl != registration.x509_ttl
            }
            None => {
                registration.created_at = now;
                returned
            }
        };
        Draft {
            registration,
            raises,
            before,
        }
    }
}
