//! Adding, updating and removing registrations.

mod draft;

use countersign_issue::profile::Profile;
use countersign_model::{RegistrationKey, SpiffeId};
use countersign_refusal::Denied;
use countersign_registry::{Field, Mode, Written, rules};
use jiff::Timestamp;
use tracing::info;

use super::removal::Reason;
use super::{Applied, Authority, AuthorityError, Level, RegistrationRequest, Removed};
use draft::{Draft, Together};

/// The level from which on a registration says with which key epoch it began.
const BEGAN_SINCE: Level = Level(3);
/// Most registrations that are written together: one commit, and as many entries of the log.
pub const MAX_APPLIED: usize = 10_000;

impl Authority {
    /// Writes one registration, over one with the same key if there is one.
    ///
    /// # Errors
    /// The rule that refuses it.
    pub async fn register(
        &self,
        request: RegistrationRequest,
        is_dry_run: bool,
        now: Timestamp,
    ) -> Result<Written, AuthorityError> {
        let mut applied = self.apply(vec![request], is_dry_run, now).await?;
        let written = applied.items.pop().expect("one was asked for");
        Ok(written?)
    }

    /// Writes registrations in one commit: all of them, or none where one is refused.
    ///
    /// # Errors
    /// They are too many, or nothing can be written now.
    pub async fn apply(
        &self,
        requests: Vec<RegistrationRequest>,
        is_dry_run: bool,
        now: Timestamp,
    ) -> Result<Applied, AuthorityError> {
        if requests.len() > MAX_APPLIED {
            return Err(too_many(requests.len()).into());
        }
        self.act(move |this| {
            let requests = requests.clone();
            async move { this.apply_now(requests, is_dry_run, now).await }
        })
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
        self.act(move |this| {
            let (id, node) = (id.clone(), node.clone());
            async move { this.unregister_now(&id, node.as_ref(), now).await }
        })
        .await
    }

    async fn apply_now(
        &self,
        requests: Vec<RegistrationRequest>,
        is_dry_run: bool,
        now: Timestamp,
    ) -> Result<Applied, AuthorityError> {
        let _one_at_a_time = self.turn().await?;
        let mut together = Together::of(&requests);
        let mut drafts = Vec::with_capacity(requests.len());
        for request in requests {
            match self.draft(request, &mut together, now) {
                Ok(draft) => drafts.push(Ok(draft)),
                Err(AuthorityError::Denied(denied)) => drafts.push(Err(denied)),
                Err(other) => return Err(other),
            }
        }
        if is_dry_run || drafts.iter().any(Result::is_err) {
            let planned = drafts.into_iter().map(|draft| draft.map(|it| it.written));
            return Ok(Applied {
                items: planned.collect(),
                is_committed: false,
            });
        }
        let drafts = drafts.into_iter().flatten().collect();
        let items = self.commit(drafts, now).await?;
        Ok(Applied {
            items: items.into_iter().map(Ok).collect(),
            is_committed: true,
        })
    }

    /// Makes drafts durable together; of those that change nothing the log does not hear. That nothing
    /// is to be changed has to be true of the newest state, too.
    async fn commit(
        &self,
        drafts: Vec<Draft>,
        now: Timestamp,
    ) -> Result<Vec<Written>, AuthorityError> {
        let new: Vec<_> = drafts
            .iter()
            .filter(|it| !it.written.is_unchanged())
            .collect();
        if !new.is_empty() {
            let what = new.iter().map(|draft| draft.entry()).collect();
            let changes = new.iter().flat_map(|draft| draft.changes()).collect();
            self.change(what, changes, Vec::new(), |_| (), now).await?;
        } else if !self.settings.replica().is_empty() {
            self.act_unlogged(Vec::new()).await?;
        }
        for draft in &new {
            let key = &draft.written.registration.key;
            info!(spiffe_id = %key.id, node = key.node().map(tracing::field::display), "registered");
        }
        Ok(drafts.into_iter().map(|draft| draft.written).collect())
    }

    /// What a request comes to, if every rule lets it.
    fn draft(
        &self,
        request: RegistrationRequest,
        together: &mut Together,
        now: Timestamp,
    ) -> Result<Draft, AuthorityError> {
        together.check_once(&request.registration.key)?;
        let names_criticality = request.names_criticality;
        let draft = self.drafted(request, together.next_place(), now)?;
        let Written {
            registration,
            before,
            ..
        } = &draft.written;
        self.settings
            .policy
            .judge_criticality(registration, names_criticality || draft.keeps_criticality)?;
        if draft.written.is_unchanged() {
            // What stands was judged when it was written, and is judged whenever it is issued for. So
            // one that has ended, or that policy refuses by now, keeps no file from being applied.
            return Ok(draft);
        }
        rules::check(registration, self.trust_domain(), self.settings.issuing_ttl)?;
        if let Some(ttl) = registration.x509_ttl {
            self.settings.times.of(Profile::Svid).allow(ttl)?;
        }
        self.state.read().registry.judge(registration, None, now)?;
        self.ids_stay_apart(&registration.key, together)?;
        if before.is_none() {
            self.state.read().registry.check_room(together.created)?;
            together.created += 1;
        }
        Ok(draft)
    }

    async fn unregister_now(
        &self,
        id: &SpiffeId,
        node: Option<&SpiffeId>,
        now: Timestamp,
    ) -> Result<Removed, AuthorityError> {
        let _one_at_a_time = self.turn().await?;
        let registrations = self.state.read().registry.of_id(id, node);
        if registrations.is_empty() {
            return Err(AuthorityError::Denied(Denied {
                code: "not_found",
                message: match node {
                    Some(node) => format!("{id} is not registered on {node}"),
                    None => format!("{id} is not registered"),
                },
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

    /// No ID is both a node's and a workload's: a workload could pass for a node. Where both are asked
    /// for together, it is the workload that is refused.
    fn ids_stay_apart(&self, key: &RegistrationKey, together: &Together) -> Result<(), Denied> {
        let state = self.state.read();
        if state.is_node(&key.id) || together.nodes.contains(&key.id) {
            return Err(rules::id_is_node(&key.id));
        }
        match key.node() {
            Some(node) if state.registry.is_workload(node) => Err(rules::node_is_workload(node)),
            _ => Ok(()),
        }
    }

    /// What will be kept, and what is kept now. A change of what certificates say raises the key
    /// epoch; so does a return after a removal. Owner, criticality, labels and end do not. Of those that
    /// are asked for together each has its `place`.
    fn drafted(
        &self,
        request: RegistrationRequest,
        place: u64,
        now: Timestamp,
    ) -> Result<Draft, Denied> {
        let RegistrationRequest {
            mut registration,
            mode,
            ..
        } = request;
        registration.created_at = now;
        // Above every commit so far, and so above every key epoch.
        let next = self.state.sequence() + 1;
        registration.created_seq = next + place;
        let state = self.state.read();
        let before = state.registry.of_key(&registration.key);
        // A removal is not remembered of what is signed by hand: every beginning is a return.
        let returned = registration.key.node().is_none_or(|node| {
            let entitlement = registration.key.entitlement_id();
            state.registry.tombstones.contains(node, &entitlement)
        });
        let present = before.map_or((0, None), |before| (before.key_epoch, before.raised_at));
        let began = before.and_then(|before| before.began);
        let before = before.map(|before| &before.registration);
        let written = Written::of(registration, &mode, before)?;
        let raises = match &written.before {
            Some(_) => written.changed.iter().any(|field| field.is_certified()),
            None => returned,
        };
        let keeps =
            |mode| matches!(mode, Mode::Merge(given) if !given.contains(&Field::Criticality));
        let epoch = match raises {
            true => (next.max(present.0 + 1), Some(now)),
            false => present,
        };
        // What was written at a lower level does not say it, and is not known to have begun later.
        let began = match written.before {
            Some(_) => began,
            None => Some(epoch.0).filter(|_| self.store.is_at(BEGAN_SINCE)),
        };
        Ok(Draft {
            keeps_criticality: written.before.is_some() && keeps(mode),
            written,
            epoch,
            began,
        })
    }
}

fn too_many(count: usize) -> Denied {
    Denied {
        code: "too_many_at_once",
        message: format!("{count} registrations are asked for at once, and {MAX_APPLIED} can be"),
        remedy: "split the file",
    }
}
