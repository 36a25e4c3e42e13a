//! An intermediate under a root that is not ours: asked for, imported, used.
//!
//! The first import founds the hierarchy. A later one under the same root replaces the
//! intermediate at once; one under another root waits, with its root in the bundle, until every
//! live consumer acknowledged it.

use countersign_ca::authorities::CaRecord;
use countersign_ca::import::{self, Expected, Imported};
use countersign_ca::key::{KeyError, StoreKind};
use countersign_ca::request;
use countersign_ca::slots::SlotState;
use countersign_fleet::Event;
use countersign_issue::profile::{Tier, ca_name};
use countersign_refusal::{Denied, Unavailable};
use countersign_store::{Kind, Write};
use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::ca_set::{CaSet, HeldKey};
use super::{Authority, AuthorityError, AuthorityInfo, CaRequest};

/// Key of the request that waits for its certificate, in the store.
pub(super) const REQUESTED: &str = "requested_intermediate";

/// The key of a request, as JSON in the store.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StoredRequest {
    key_id: String,
    store: StoreKind,
    /// DER, hexadecimal.
    spki: String,
}

impl Authority {
    /// A request for an intermediate's certificate. Until it is imported, the same key is asked
    /// for again.
    ///
    /// # Errors
    /// The root is ours; the store or a key is unavailable.
    pub async fn ca_request(&self) -> Result<CaRequest, AuthorityError> {
        self.to_the_end(async move |this| {
            let _one_at_a_time = this.turn().await?;
            let waiting = this.hierarchy.read().requested.clone();
            let asked = waiting.map(|held| this.request_of(&held)).transpose();
            match asked {
                Ok(Some(request)) => Ok(request),
                // One that could not be stored, as it seemed: nobody has seen it.
                Ok(None) | Err(KeyError::Gone(_)) => {
                    Ok(this.request_of(&this.new_request().await?)?)
                }
                Err(error) => Err(error.into()),
            }
        })
        .await
    }

    /// Takes over what a root that is not ours signed for the newest request. Taken over again, it
    /// changes nothing.
    ///
    /// # Errors
    /// A rule that the certificates break; the store or a key is unavailable.
    pub async fn import_ca(
        &self,
        chain: Vec<CertificateDer<'static>>,
        root: CertificateDer<'static>,
        now: Timestamp,
    ) -> Result<AuthorityInfo, AuthorityError> {
        self.to_the_end(async move |this| {
            let _one_at_a_time = this.turn().await?;
            let mut next = this.hierarchy.read().clone();
            if let Some(known) = chain.first().and_then(|it| known(&next, it)) {
                return Ok(known);
            }
            let held = next.requested.take().ok_or_else(no_request)?;
            let imported = this.judged(&chain, &root, &held, now)?;
            let placed = this.place(&mut next, &held, imported, now).await;
            let key_id = held.key.key_id();
            let record = next.authorities.record(key_id).cloned();
            let changes = [Event::Bundle, Event::Authorities];
            let state = this.replace(placed, next, changes, now).await?;
            info!(key_id, state = state.as_str(), "intermediate imported");
            let record = record.expect("it was placed");
            Ok(this.hierarchy.read().info(&record, state))
        })
        .await
    }

    /// Finds the key of a request again that was made before a restart.
    pub(super) fn restore_request(
        &self,
        stored: Option<StoredRequest>,
    ) -> Result<(), AuthorityError> {
        let Some(StoredRequest {
            key_id,
            store,
            spki,
        }) = stored
        else {
            return Ok(());
        };
        let damaged = |_| Unavailable::damaged("a stored request is damaged");
        let spki = hex::decode(spki).map_err(damaged)?;
        let key = match self.hierarchy.stores().load(store, &key_id, &spki) {
            Err(KeyError::Gone(_)) => {
                warn!(key_id, %store, "key of the request is gone; the next request has another");
                return Ok(());
            }
            key => key?,
        };
        let held = HeldKey { store, key };
        self.hierarchy.update(|cas| cas.requested = Some(held));
        Ok(())
    }

    fn request_of(&self, held: &HeldKey) -> Result<CaRequest, KeyError> {
        Ok(CaRequest {
            key_id: held.key.key_id().to_owned(),
            pem: request::pem(held.key.as_ref(), self.trust_domain())?,
        })
    }

    async fn new_request(&self) -> Result<HeldKey, AuthorityError> {
        let hierarchy = &self.settings.hierarchy;
        let (None, Some((store, _))) = (hierarchy.root, hierarchy.intermediate) else {
            return Err(root_is_ours().into());
        };
        let held = self.create_key(store)?;
        let stored = StoredRequest {
            key_id: held.key.key_id().to_owned(),
            store,
            spki: hex::encode(held.key.spki()),
        };
        let writes = vec![Write::put(Kind::Meta, self.facts.key(REQUESTED), &stored)];
        let committed = self.store.commit(writes, Vec::new()).await;
        // Also where it may be stored all the same: a request whose key is gone is forgotten.
        let seq = committed.inspect_err(|_| self.destroy(&held))?;
        let requested = held.clone();
        self.hierarchy.update(|cas| cas.requested = Some(requested));
        self.state.announce(seq, []);
        info!(key_id = stored.key_id, %store, "intermediate requested");
        Ok(held)
    }

    fn judged(
        &self,
        chain: &[CertificateDer<'static>],
        root: &CertificateDer<'static>,
        held: &HeldKey,
        now: Timestamp,
    ) -> Result<Imported, AuthorityError> {
        let needed_until = now.checked_add(self.settings.issuing_ttl);
        let expected = Expected {
            spki: held.key.spki(),
            common_name: &ca_name(Tier::Intermediate, held.key.key_id()),
            trust_domain: self.trust_domain(),
            needed_until: needed_until.unwrap_or(Timestamp::MAX),
            now,
        };
        Ok(import::judge(chain, root, &expected)?)
    }

    /// Gives root and intermediate their slots in `next`, and an issuing CA where they may be used
    /// at once.
    async fn place(
        &self,
        next: &mut CaSet,
        held: &HeldKey,
        imported: Imported,
        now: Timestamp,
    ) -> Result<SlotState, AuthorityError> {
        let Imported { root, intermediate } = imported;
        let root_id = root.key_id.clone();
        let root = root.into_record(Tier::Root, None, &root_id, now);
        let store = Some(held.store);
        let intermediate = intermediate.into_record(Tier::Intermediate, store, &root_id, now);
        next.retires_at(now);
        let state = trust(next, root)?;
        let (key_id, end) = (&intermediate.key_id, intermediate.not_after);
        let slots = next.authorities.slots_mut();
        match state {
            SlotState::Active => slots.activate_intermediate(key_id, &root_id, end)?,
            _ => slots.prepare_intermediate(key_id, &root_id, end)?,
        }
        next.keys.insert(key_id.clone(), held.clone());
        next.authorities.keep(intermediate);
        if state == SlotState::Active {
            self.add_issuing(next, now).await?;
        }
        Ok(state)
    }
}

/// Gives a root its slot, where it has none, and says which state it is in: the first of all is
/// active, another one waits.
fn trust(next: &mut CaSet, root: CaRecord) -> Result<SlotState, AuthorityError> {
    if let Some(known) = next.authorities.record(&root.key_id) {
        if known.certificate != root.certificate {
            return Err(other_root_certificate().into());
        }
        let slot = next.authorities.slots().get(&root.key_id);
        return Ok(slot.map_or(SlotState::Retired, |slot| slot.state));
    }
    let is_first = next.active(Tier::Root).is_none();
    let slots = next.authorities.slots_mut();
    let state = if is_first {
        slots.begin(&root.key_id, root.not_after)?;
        SlotState::Active
    } else {
        slots.prepare_root(&root.key_id, root.not_after)?;
        SlotState::Prepared
    };
    next.authorities.keep(root);
    Ok(state)
}

/// What was imported before.
fn known(cas: &CaSet, certificate: &CertificateDer<'_>) -> Option<AuthorityInfo> {
    let (record, state) = cas.authorities.with_certificate(certificate)?;
    (record.tier == Tier::Intermediate).then(|| cas.info(record, state))
}

fn no_request() -> Denied {
    Denied {
        code: "no_request",
        message: "no request waits for a certificate".to_owned(),
        remedy: "make one with `countersign ca csr`, and have it signed",
    }
}

fn root_is_ours() -> Denied {
    Denied {
        code: "root_embedded",
        message: "the root is made here, and signs its intermediates itself".to_owned(),
        remedy: "set ca.root = \"external\" to bring a root of your own",
    }
}

fn other_root_certificate() -> Denied {
    Denied {
        code: "import_root_renewed",
        message: "a root with this key is here, with another certificate".to_owned(),
        remedy: "give the certificate of the root that `countersign bundle show` prints",
    }
}
