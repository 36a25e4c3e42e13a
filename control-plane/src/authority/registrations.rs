//! Adding, updating and removing registrations.

use countersign_model::{EntitlementId, Registration, SpiffeId};
use jiff::Timestamp;
use tracing::info;

use super::{Authority, AuthorityError, Change, Denied, RegistrationRequest, Removed};
use crate::registry::{Kept, Tombstone, rules};
use crate::store::{Change as Write, Kind};

/// Most registrations of one control plane.
const MAX_REGISTRATIONS: usize = 1_000_000;

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
        self.ids_stay_apart(&wanted)?;
        let entitlement = wanted.key.entitlement_id();
        let (kept, before) = self.kept(wanted, &entitlement, now);
        match &before {
            Some(before) if *before == kept => return Ok((kept.registration, true)),
            Some(_) => {}
            None => self.has_room()?,
        }
        let node = kept.registration.key.node.clone();
        let grave = Tombstone::new(&kept.registration, None, now).key();
        let writes = vec![
            Write::put(Kind::Registration, entitlement.as_str(), &kept),
            Write::remove(Kind::Tombstone, grave),
        ];
        let seq = self.store.commit(writes, Vec::new()).await?;
        self.write().registry.insert(kept.clone());
        self.announce(seq, [Change::Entitlement(node.clone(), entitlement)]);
        info!(spiffe_id = %kept.registration.key.id, node = %node, "registered");
        Ok((kept.registration, before.is_some()))
    }

    async fn unregister_now(
        &self,
        id: &SpiffeId,
        node: Option<&SpiffeId>,
        now: Timestamp,
    ) -> Result<Removed, AuthorityError> {
        let _one_at_a_time = self.writing.lock().await;
        let registrations = self.read().registry.of_id(id, node);
        if registrations.is_empty() {
            return Err(AuthorityError::Denied(Denied {
                code: "not_found",
                message: format!("{id} is not registered there"),
                remedy: "see `countersign list`",
            }));
        }
        let (tombstones, valid_until) = self.tombstones(&registrations, now);
        let graves = tombstones
            .iter()
            .map(|grave| Write::put(Kind::Tombstone, grave.key(), grave));
        let removals = registrations
            .iter()
            .map(|gone| Write::remove(Kind::Registration, gone.key.entitlement_id().as_str()));
        let writes = graves.chain(removals).collect();
        let seq = self.store.commit(writes, Vec::new()).await?;
        {
            let mut state = self.write();
            for (gone, tombstone) in registrations.iter().zip(tombstones) {
                state.registry.bury(tombstone);
                let entitlement = gone.key.entitlement_id();
                state.published.remove(&gone.key.node, &entitlement);
            }
        }
        let changes = registrations
            .iter()
            .map(|gone| Change::Entitlement(gone.key.node.clone(), gone.key.entitlement_id()));
        self.announce(seq, changes);
        info!(spiffe_id = %id, count = registrations.len(), "unregistered");
        Ok(Removed {
            registrations,
            valid_until,
        })
    }

    /// No ID is both a node's and a workload's: a workload could pass for a node.
    fn ids_stay_apart(&self, wanted: &Registration) -> Result<(), Denied> {
        let state = self.read();
        if state.is_node(&wanted.key.id) {
            return Err(rules::id_is_node(&wanted.key.id));
        }
        if state.registry.is_workload(&wanted.key.node) {
            return Err(rules::node_is_workload(&wanted.key.node));
        }
        Ok(())
    }

    fn has_room(&self) -> Result<(), Denied> {
        if self.registration_count() < MAX_REGISTRATIONS {
            return Ok(());
        }
        Err(Denied {
            code: "too_many_registrations",
            message: format!("there are {MAX_REGISTRATIONS} registrations"),
            remedy: "unregister what is no longer used",
        })
    }

    /// What will be kept, and what is kept now. A change of what certificates say raises the key
    /// epoch; so does a return after a removal.
    fn kept(
        &self,
        wanted: Registration,
        entitlement: &EntitlementId,
        now: Timestamp,
    ) -> (Kept, Option<Kept>) {
        // Registrations are written one at a time, so no other can get this sequence.
        let next = self.stamp().sequence + 1;
        let state = self.read();
        let node = &wanted.key.node;
        let before = state.registry.find(node, entitlement).cloned();
        let returned = state.registry.was_removed(node, entitlement);
        let mut registration = wanted;
        let key_epoch = match &before {
            Some(old) => {
                let old_one = &old.registration;
                registration.created_at = old_one.created_at;
                registration.created_seq = old_one.created_seq;
                let same_names = old_one.dns == registration.dns;
                let same = same_names && old_one.x509_ttl == registration.x509_ttl;
                if same { old.key_epoch } else { next }
            }
            None => {
                registration.created_at = now;
                registration.created_seq = next;
                if returned { next } else { 0 }
            }
        };
        let kept = Kept {
            registration,
            key_epoch,
        };
        (kept, before)
    }

    fn tombstones(
        &self,
        registrations: &[Registration],
        now: Timestamp,
    ) -> (Vec<Tombstone>, Option<Timestamp>) {
        let state = self.read();
        let ends = registrations.iter().map(|gone| {
            let entitlement = gone.key.entitlement_id();
            let end = state.published.last_end(&gone.key.node, &entitlement);
            end.filter(|end| *end > now)
        });
        let ends: Vec<_> = ends.collect();
        let graves = registrations.iter().zip(&ends);
        let tombstones = graves.map(|(gone, end)| Tombstone::new(gone, *end, now));
        let tombstones = tombstones.collect();
        (tombstones, ends.into_iter().flatten().max())
    }
}
