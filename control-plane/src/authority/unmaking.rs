//! What is made for a change of the CAs and comes to nothing: keys and certificates.
//!
//! A change works on a copy of the CAs. Until that is stored, the copy names every key that was
//! made for it: where the change fails, each is destroyed in its key store and its certificate is
//! void. Where the store cannot say whether it kept the change, nothing is destroyed: the next
//! start knows ([`super::withheld`]).

use std::sync::Arc;

use jiff::Timestamp;
use tracing::{error, warn};

use super::cas::{Cas, HeldKey};
use super::withheld::Withheld;
use super::{Authority, AuthorityError, Change};
use crate::ca::keys::StoreKind;
use crate::ca::sign::Signed;

/// A key that was made for a copy of the CAs, and its certificate once there is one.
#[derive(Clone, Debug)]
pub(super) struct Made {
    held: HeldKey,
    signed: Option<Arc<Signed>>,
}

impl Cas {
    /// The certificate for a key that was made for this copy.
    pub(super) fn certified(&mut self, key_id: &str, signed: Signed) {
        let made = self.made.iter_mut();
        if let Some(made) = { made }.find(|made| made.held.key.key_id() == key_id) {
            made.signed = Some(Arc::new(signed));
        }
    }
}

impl Authority {
    /// Makes a key for a copy of the CAs.
    pub(super) fn make_key(
        &self,
        next: &mut Cas,
        store: StoreKind,
    ) -> Result<HeldKey, AuthorityError> {
        let held = self.create_key(store)?;
        next.made.push(Made {
            held: held.clone(),
            signed: None,
        });
        Ok(held)
    }

    /// Stores and shows a copy of the CAs in which everything was `made` that it needs; unmakes
    /// what was made for it where that or this fails.
    pub(super) async fn replace<T>(
        &self,
        made: Result<T, AuthorityError>,
        mut next: Cas,
        changes: impl IntoIterator<Item = Change>,
        now: Timestamp,
    ) -> Result<T, AuthorityError> {
        let for_it = std::mem::take(&mut next.made);
        let stored = match made {
            Ok(value) => { self.store_cas(next, changes, now).await }.map(|()| value),
            Err(error) => Err(error.into()),
        };
        match stored {
            Ok(value) => {
                let certified = for_it.iter().filter_map(|made| made.signed.as_ref());
                certified.for_each(|signed| self.inventory().issued(signed));
                Ok(value)
            }
            Err(failed) if failed.is_open => {
                warn!("whether the CAs have changed is known after the next start");
                Err(failed.into())
            }
            Err(failed) => {
                self.unmake(for_it, now).await;
                Err(failed.into())
            }
        }
    }

    async fn unmake(&self, made: Vec<Made>, now: Timestamp) {
        for Made { held, signed } in made {
            self.destroy(&held);
            if let Some(signed) = signed {
                self.withhold(Withheld::of(signed.issuance()), now).await;
            }
        }
    }

    /// A key that is not destroyed can sign nothing here, so what was done stays done.
    pub(super) fn destroy(&self, HeldKey { store, key }: &HeldKey) {
        let key_id = key.key_id();
        if let Err(error) = self.keys.destroy(*store, key_id) {
            error!(key_id, %store, %error, "a key that may not sign was not destroyed");
        }
    }

    /// Makes a key in a store.
    pub(super) fn create_key(&self, store: StoreKind) -> Result<HeldKey, AuthorityError> {
        let key = self.keys.create(store)?;
        Ok(HeldKey { store, key })
    }
}
