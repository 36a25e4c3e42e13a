//! Opening a data directory: making everything at first start, finding it again later.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::sync::{Arc, RwLock};

use arc_swap::ArcSwapOption;
use countersign_model::{EntitlementId, SpiffeId};
use jiff::Timestamp;
use tokio::sync::broadcast;
use tracing::Instrument;

use super::cas::Cas;
use super::identity::{Meta, begin, resume};
use super::issuing::Stripes;
use super::state::{KeyUse, State};
use super::{Authority, AuthorityError, CHANGES, Denied, Settings};
use crate::attest::join_token::{KnownToken, Token, TokenHash};
use crate::ca::authorities::{Authorities, StoredCa};
use crate::ca::bundle;
use crate::ca::keys::{DiskKeys, KeyStore};
use crate::ca::log::Log;
use crate::ca::slots::SlotState;
use crate::issue::profile::Profile;
use crate::registry::{Defaults, rules};
use crate::store::{DataDir, Entry, IssuanceRow, Kind, Store};
use crate::telemetry::Issuance;

/// Where the keys are, within the data directory.
const KEYS: &str = "keys";

impl Authority {
    /// Opens `data_dir`: at first start makes root, issuing CA and state; later finds them again
    /// and re-issues nothing.
    ///
    /// # Errors
    /// The directory is locked, unreadable, of another trust domain, or damaged.
    pub async fn open(settings: Settings, now: Timestamp) -> Result<Arc<Self>, AuthorityError> {
        let disk = |dir: &DataDir| -> Result<Box<dyn KeyStore>, AuthorityError> {
            let keys = dir.subdirectory(KEYS);
            let keys = keys.map_err(|error| AuthorityError::Unavailable(error.to_string()))?;
            Ok(Box::new(DiskKeys::new(&keys)))
        };
        Self::open_with(settings, disk, now).await
    }

    /// Waits until everything is on disk, signatures included: for a daemon that ends. One that
    /// is killed instead signs the last entries of its log again when it starts.
    ///
    /// # Errors
    /// The store is unavailable.
    pub async fn flush(&self) -> Result<(), AuthorityError> {
        Ok(self.store.flush().await?)
    }

    /// As [`Authority::open`], with keys of another store.
    pub(super) async fn open_with(
        settings: Settings,
        keys: impl FnOnce(&DataDir) -> Result<Box<dyn KeyStore>, AuthorityError>,
        now: Timestamp,
    ) -> Result<Arc<Self>, AuthorityError> {
        rules::lifetime(settings.x509_ttl, settings.issuing_ttl)?;
        let data_dir = DataDir::open(&settings.data_dir)?;
        let keys = keys(&data_dir)?;
        let (store, newest) = Store::open(&data_dir).await?;
        let entries = store.snapshot().await?;
        let (meta, entries): (Vec<_>, Vec<_>) = entries
            .into_iter()
            .partition(|entry| entry.kind == Kind::Meta);
        let meta: Meta = meta.into_iter().map(|e| (e.key.clone(), e)).collect();
        let is_new = meta.is_empty();
        let identity = if is_new {
            begin(&store, &settings).await?
        } else {
            resume(&meta, &settings)?
        };
        let store = Arc::new(store);
        let log = Log::open(identity.log_id, store.clone()).await?;
        let defaults = Defaults {
            ttl: settings.x509_ttl,
            renew: settings.renew,
        };
        let authority = Arc::new_cyclic(|this| Self {
            this: this.clone(),
            epoch: identity.epoch,
            sequence: newest.0.into(),
            state: RwLock::new(State::new(defaults)),
            cas: RwLock::default(),
            bundle: ArcSwapOption::empty(),
            store,
            log,
            keys,
            writing: tokio::sync::Mutex::default(),
            enrolling: Stripes::default(),
            changes: broadcast::channel(CHANGES).0,
            metrics: Issuance::default(),
            settings,
            _data_dir: data_dir,
        });
        authority
            .restore(&entries, identity.bundle_sequence, now)
            .await?;
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
        task.await
            .map_err(|error| AuthorityError::Unavailable(error.to_string()))?
    }

    async fn restore(
        &self,
        entries: &[Entry],
        bundle_sequence: u64,
        now: Timestamp,
    ) -> Result<(), AuthorityError> {
        let cas = self.restored_cas(entries)?;
        if cas.authorities.slots().iter().next().is_none() {
            // First start, or one that was cut short before the CAs were stored.
            self.restore_state(entries)?;
            return self.found(now).await;
        }
        let bundle = bundle::of(self.trust_domain(), &cas.authorities)
            .map_err(|error| AuthorityError::Unavailable(error.to_string()))?;
        let bundle = (Arc::new(bundle), bundle_sequence);
        self.bundle.store(Some(Arc::new(bundle)));
        *self.cas.write().expect("nobody else has it yet") = cas;
        self.restore_state(entries)?;
        self.restore_issued(now).await?;
        self.longest_fits()?;
        self.tick(now).await
    }

    fn restored_cas(&self, entries: &[Entry]) -> Result<Cas, AuthorityError> {
        let damaged = || AuthorityError::Unavailable("a stored CA is damaged".to_owned());
        let mut stored = BTreeMap::new();
        for entry in entries.iter().filter(|entry| entry.kind == Kind::Authority) {
            stored.insert(entry.key.clone(), entry.read::<StoredCa>()?);
        }
        let authorities = Authorities::restore(stored).ok_or_else(damaged)?;
        let mut keys = HashMap::new();
        for (key_id, slot) in authorities.slots().iter() {
            if slot.state != SlotState::Retired {
                keys.insert(key_id.clone(), self.keys.load(key_id)?);
            }
        }
        Ok(Cas { authorities, keys })
    }

    fn restore_state(&self, entries: &[Entry]) -> Result<(), AuthorityError> {
        let damaged = |_| AuthorityError::Unavailable("a stored ID is damaged".to_owned());
        let mut state = self.write();
        for entry in entries {
            match entry.kind {
                Kind::Registration => state.registry.insert(entry.read()?),
                Kind::Tombstone => state.registry.bury(entry.read()?),
                Kind::Token => {
                    let hash = TokenHash::stored(entry.key.clone());
                    let token: Token = entry.read()?;
                    let seq = entry.seq;
                    state.remember_token(hash, KnownToken { token, seq });
                }
                Kind::Node => {
                    let id = SpiffeId::with_path(&entry.key).map_err(damaged)?;
                    state.nodes.attested(&id, entry.read()?);
                }
                Kind::Authority | Kind::Meta => {}
            }
        }
        Ok(())
    }

    /// Finds the newest certificate of every entitlement again: nothing is issued anew.
    async fn restore_issued(&self, now: Timestamp) -> Result<(), AuthorityError> {
        let mut index = 0;
        loop {
            let rows = self.store.unexpired_from(index, now).await?;
            let Some(last) = rows.last() else {
                return Ok(());
            };
            index = last.index + 1;
            for row in rows {
                self.restore_row(row).await?;
            }
        }
    }

    async fn restore_row(&self, row: IssuanceRow) -> Result<(), AuthorityError> {
        if row.profile == Profile::Root.as_str() || row.profile == Profile::Issuing.as_str() {
            return Ok(());
        }
        let (issuer, end) = (row.issuer.clone(), row.not_after);
        self.cas
            .write()
            .expect("nobody else has it yet")
            .note_leaf(&issuer, end);
        if row.profile != Profile::Svid.as_str() {
            return Ok(());
        }
        let spki_sha256 = row.spki_sha256;
        let svid = match self.signed_again(row).await {
            Ok(signed) => Arc::new(self.chain_of(signed)?),
            Err(error) => {
                tracing::warn!(%error, "a certificate was lost and cannot be signed again");
                return Ok(());
            }
        };
        let mut state = self.write();
        let used = KeyUse {
            node: svid.node.clone(),
            entitlement: svid.entitlement.clone(),
            issued: Some((svid.serial.index(), end)),
        };
        state.keys.issued(spki_sha256, used);
        state.nodes.credited(&svid.node, end);
        let is_entitled = if svid.entitlement == EntitlementId::node() {
            let index = svid.serial.index();
            state.nodes.certified(&svid.node, index, spki_sha256);
            state.nodes.contains(&svid.node)
        } else {
            let kept = state.registry.find(&svid.node, &svid.entitlement);
            kept.is_some_and(|kept| kept.registration.created_at <= svid.lifetime.issued_at)
        };
        if is_entitled {
            state.published.offer(svid);
        }
        Ok(())
    }

    fn longest_fits(&self) -> Result<(), Denied> {
        let longest = self.read().registry.longest_ttl();
        rules::lifetime(longest, self.settings.issuing_ttl)
    }
}
