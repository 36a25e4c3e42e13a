//! Opening a data directory: making everything at first start, finding it again later.

use std::collections::HashMap;
use std::convert::identity;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64};

use countersign_ca::authorities::Authorities;
use countersign_ca::bundle;
use countersign_ca::key::KeyError;
use countersign_ca::slots::SlotState;
use countersign_issue::profile::{Profile, Tier};
use countersign_keys::Stores;
use countersign_model::Seq;
use countersign_refusal::{Denied, Unavailable};
use countersign_registry::{Defaults, rules};
use countersign_restore::facts::TRUST_DOMAIN;
use countersign_store::{DataDir, Entry, Kind, Shared, Snapshot, Store, StoreError};
use jiff::Timestamp;
use tracing::Instrument;

use super::archive::open_log;
use super::backing_up::Backups;
use super::ca_hierarchy::{CaHierarchy, KEYS};
use super::ca_set::{CaSet, HeldKey};
use super::database;
use super::doubts::Doubts;
use super::following::read_change;
use super::identity::{BROUGHT, Identity, Meta, begin, resume};
use super::issuing::Stripes;
use super::key_uses::Claims;
use super::ledger::Ledger;
use super::record::ACTS;
use super::refused_keys::Refused;
use super::replicas::Seals;
use super::scratch::remove_leftovers;
use super::state::{SharedState, State};
use super::stored_cas::damaged_ca;
use super::{Authority, AuthorityError, Settings, stored_cas};
use crate::series::IssuanceSeries;

impl Authority {
    /// Opens `data_dir`: at first start makes root, issuing CA and state; later finds them again
    /// and re-issues nothing.
    ///
    /// # Errors
    /// The directory is locked, unreadable, of another trust domain, or damaged.
    pub async fn open(settings: Settings, now: Timestamp) -> Result<Arc<Self>, AuthorityError> {
        Self::open_in(settings, None, now).await
    }

    /// As [`Authority::open`], with another database than the one at the address of the settings. For the
    /// simulation.
    ///
    /// # Errors
    /// As [`Authority::open`].
    #[doc(hidden)]
    pub async fn open_in(
        settings: Settings,
        database: Option<Arc<dyn Shared>>,
        now: Timestamp,
    ) -> Result<Arc<Self>, AuthorityError> {
        let token = settings.hierarchy.pkcs11.clone();
        let stores = |dir: &DataDir| -> Result<Stores, AuthorityError> {
            let keys = dir.subdirectory(KEYS);
            let keys = keys.map_err(Unavailable::retry)?;
            Ok(Stores::new(&keys, token.as_ref()))
        };
        Self::open_with(settings, stores, (database, identity), now).await
    }

    /// Waits until everything is on disk, signatures included: for a daemon that ends. One that
    /// is killed instead signs the last entries of its log again when it starts.
    ///
    /// # Errors
    /// The store is unavailable.
    pub async fn flush(&self, now: Timestamp) -> Result<(), AuthorityError> {
        let voided = self.ledger.void_pending(now).await;
        self.ledger.log_refusals(now, true).await?;
        self.keep_doubts().await?;
        self.publish_log(now).await?;
        self.save_inventory(now, true).await?;
        self.store.flush().await?;
        Ok(voided?)
    }

    /// As [`Authority::open`], with keys of another store, and a store that may fail.
    pub(super) async fn open_with(
        settings: Settings,
        keys: impl FnOnce(&DataDir) -> Result<Stores, AuthorityError>,
        (database, store): (Option<Arc<dyn Shared>>, impl FnOnce(Store) -> Store),
        now: Timestamp,
    ) -> Result<Arc<Self>, AuthorityError> {
        rules::lifetime(settings.x509_ttl, settings.issuing_ttl)?;
        let refused_keys = Refused::load(settings.blocked_keys.as_deref())?;
        let data_dir = DataDir::open(&settings.data_dir)?;
        remove_leftovers(data_dir.path());
        let keys = keys(&data_dir)?;
        keys.probe();
        let opened = database::open(&settings, database, &data_dir, now).await?;
        let store = store(opened);
        let Snapshot { seq, entries, .. } = store.snapshot().await?;
        let (meta, mut entries): (Vec<_>, Vec<_>) = entries
            .into_iter()
            .partition(|entry| entry.kind == Kind::Meta);
        let meta: Meta = meta.into_iter().map(|e| (e.key.clone(), e)).collect();
        let own = |entry: &&Entry| entry.kind == Kind::Replica && entry.key == settings.replica();
        let own = entries.iter().find(own).map(Entry::read).transpose()?;
        let acts = meta.get(ACTS).map(|entry| entry.seq);
        let is_new = !meta.contains_key(TRUST_DOMAIN);
        let mut identity = if is_new {
            begin(&store, &settings, now).await?
        } else {
            resume(&store, (&meta, own), &settings, now).await?
        };
        let store = Arc::new(store);
        let sequence = Arc::new(AtomicU64::new(seq.0));
        let claims = Arc::new(Claims::default());
        let brought = identity.facts.key(BROUGHT);
        let opened = open_log(
            (identity.log_id, &brought),
            &settings,
            &store,
            &sequence,
            &claims,
        );
        let (log, archived) = opened.await?;
        let defaults = Defaults {
            ttl: settings.x509_ttl,
            renew: settings.renew,
            backdate: settings.times.of(Profile::Svid).backdate,
        };
        let mut state = State::new(defaults, settings.policy.clone());
        state.acts = acts;
        state.keys.claims(&claims);
        if let row @ Some(_) = identity.row.take() {
            let is_own = |it: &Entry| it.kind == Kind::Replica && it.key == settings.replica();
            entries.retain(|entry| !is_own(entry));
            // Nobody changes the row of its own name, so its commit is not asked for.
            state
                .replicas
                .written(settings.replica().to_owned(), row, seq);
        }
        state.doubts = Doubts::restored(identity.doubts.take().unwrap_or_default());
        let no_cas = CaSet::new(settings.replica(), identity.cas_written);
        let authority = Arc::new_cyclic(|this| Self {
            this: this.clone(),
            epoch: identity.epoch,
            predecessor: identity.predecessor,
            facts: identity.facts.clone(),
            store,
            writing: tokio::sync::Mutex::default(),
            sealing: Seals::default(),
            state: SharedState::new(state, sequence),
            ledger: Ledger::new(log, archived),
            hierarchy: CaHierarchy::new(keys, refused_keys, no_cas),
            enrolling: Stripes::default(),
            backups: Backups::new(data_dir),
            metrics: IssuanceSeries::default(),
            told_now: AtomicI64::default(),
            said_at: AtomicI64::default(),
            settings,
        });
        authority.tell_now(now);
        authority.restore_request(identity.requested.take())?;
        authority.restore((seq, entries), &identity, now).await?;
        authority.tell_doubts();
        Ok(authority)
    }

    /// Runs a write to its end even when its caller goes away in the middle: what is durable must
    /// also be seen.
    pub(super) async fn to_the_end<T, F>(
        &self,
        write: impl FnOnce(Arc<Self>) -> F,
    ) -> Result<T, AuthorityError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, AuthorityError>> + Send + 'static,
    {
        let this = self.this.upgrade().expect("we are called through it");
        let task = tokio::spawn(write(this).in_current_span());
        task.await.map_err(Unavailable::retry)?
    }

    async fn restore(
        &self,
        (seq, entries): (Seq, Vec<Entry>),
        identity: &Identity,
        now: Timestamp,
    ) -> Result<(), AuthorityError> {
        let (bundle_sequence, accounted) = (identity.bundle_sequence, identity.log_accounted);
        let stored = stored_cas::read(&entries)?;
        let first = identity.first_replica.as_deref();
        self.restore_requests(&entries)?;
        let signer = identity.ca_signer.clone();
        self.hierarchy.update(|cas| cas.signer = signer);
        let adopted = self.adopted(stored, first, bundle_sequence).await?;
        let cas = self.restored_cas(adopted)?;
        if cas.authorities.slots().iter().next().is_none() {
            // First start, or one that was cut short before the CAs were stored.
            self.restore_state(entries, identity)?;
            self.restore_logged(accounted, seq, now).await?;
            self.follow(seq).await;
            self.bring_signatures(self.ledger.lacks_from(identity.signatures_brought));
            return self.begin_hierarchy(now).await;
        }
        let bundle =
            bundle::of(self.trust_domain(), &cas.authorities).map_err(Unavailable::retry)?;
        self.hierarchy.show_bundle(bundle, bundle_sequence);
        self.hierarchy.replace(cas, |next, present| {
            next.requested.clone_from(&present.requested);
        });
        self.restore_state(entries, identity)?;
        self.restore_logged(accounted, seq, now).await?;
        self.follow(seq).await;
        self.bring_signatures(self.ledger.lacks_from(identity.signatures_brought));
        self.longest_fits()?;
        self.first_tick(now).await
    }

    fn restored_cas(&self, authorities: Authorities) -> Result<CaSet, AuthorityError> {
        let mut cas = self.hierarchy.read().clone();
        cas.authorities = authorities;
        let mut keys = HashMap::new();
        for (key_id, slot) in cas.authorities.slots().iter() {
            if slot.state == SlotState::Retired {
                continue;
            }
            if let Some(held) = self.restored_key(&cas, key_id)? {
                keys.insert(key_id.clone(), held);
            }
        }
        cas.keys = keys;
        cas.settle_asked();
        Ok(cas)
    }

    /// The key of a CA; `None` where it is not ours, and where our issuing CA lost it, for which
    /// another is made.
    fn restored_key(&self, cas: &CaSet, key_id: &str) -> Result<Option<HeldKey>, AuthorityError> {
        let record = cas.authorities.record(key_id);
        let Some(record) = record.filter(|record| cas.may_have_key(record)) else {
            return Ok(None);
        };
        let Some(store) = record.store else {
            return Ok(None);
        };
        let spki = record.spki().ok_or_else(damaged_ca)?;
        match self.hierarchy.stores().load(store, key_id, &spki) {
            Ok(key) => Ok(Some(HeldKey { store, key })),
            Err(KeyError::Gone(_)) if record.tier == Tier::Issuing => {
                tracing::warn!(key_id, %store, "key of the issuing CA is gone; another is made");
                Ok(None)
            }
            // It is another replica's, or was taken there.
            Err(KeyError::Gone(_) | KeyError::NotConfigured(_)) if cas.shares(record) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn restore_state(&self, entries: Vec<Entry>, identity: &Identity) -> Result<(), StoreError> {
        let mut state = self.state.write();
        for entry in entries {
            let seq = entry.seq;
            if let Some(change) = read_change(&entry.into_write())? {
                state.apply(seq, change);
            }
        }
        state.replicas.named(&identity.joined);
        Ok(())
    }

    /// What was registered under other settings must be issuable under these.
    fn longest_fits(&self) -> Result<(), Denied> {
        let (shortest, longest) = self.state.read().registry.ttl_bounds();
        let times = self.settings.times.of(Profile::Svid);
        times.allow(shortest)?;
        times.allow(longest)?;
        rules::lifetime(longest, self.settings.issuing_ttl)
    }
}
