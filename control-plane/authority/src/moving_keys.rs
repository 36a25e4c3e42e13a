//! The keys of root and intermediate go from one control plane of a trust domain to another.
//!
//! An operator carries them in a file. The one that gives them away forgets them only when told to, once
//! the file is written, so that a key is never nowhere. The one that takes them over takes only keys of
//! CAs that it knows: nobody becomes a CA by bringing a key.

use countersign_ca::authorities::CaRecord;
use countersign_ca::key::StoreKind;
use countersign_issue::profile::Tier;
use countersign_keys::key_id_of_private;
use countersign_refusal::Denied;
use tracing::info;
use zeroize::Zeroizing;

use super::ca_set::HeldKey;
use super::{Authority, AuthorityError};

/// A CA whose key goes to another control plane, or came from one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MovedKey {
    /// The key, lower-case hex.
    pub key_id: String,
    /// Root or intermediate.
    pub tier: Tier,
}

/// A key that is given away.
#[derive(Debug)]
pub struct GivenKey {
    /// Whose it is.
    pub moved: MovedKey,
    /// PKCS#8, DER.
    pub pkcs8: Zeroizing<Vec<u8>>,
}

impl Authority {
    /// The keys of root and intermediate that are on this disk, for another control plane. They stay here
    /// until [`Authority::forget_keys`].
    ///
    /// # Errors
    /// There is no other control plane, no such key is here, or its store gives none out.
    pub async fn give_keys(&self) -> Result<Vec<GivenKey>, AuthorityError> {
        self.require_several()?;
        self.to_the_end(async move |this| {
            let _one_at_a_time = this.turn().await?;
            let mut given = Vec::new();
            for record in this.movable_keys()? {
                let (stores, key_id) = (this.hierarchy.stores(), &record.key_id);
                let pkcs8 = stores.give(StoreKind::Disk, key_id)?;
                let moved = MovedKey::of(&record);
                given.push(GivenKey { moved, pkcs8 });
            }
            for GivenKey { moved, .. } in &given {
                info!(
                    key_id = moved.key_id,
                    tier = moved.tier.as_str(),
                    "key of a CA given out"
                );
            }
            Ok(given)
        })
        .await
    }

    /// Destroys keys that were given away; of one that is not here, nothing is to be done.
    ///
    /// # Errors
    /// One is of a CA that is not shared, or may still be here.
    pub async fn forget_keys(&self, key_ids: Vec<String>) -> Result<(), AuthorityError> {
        self.require_several()?;
        self.to_the_end(async move |this| {
            let _one_at_a_time = this.turn().await?;
            let here = this.shared_keys_here().into_iter();
            let on_disk = here.filter(|it| it.store == Some(StoreKind::Disk));
            for record in on_disk.filter(|it| key_ids.contains(&it.key_id)) {
                let stores = this.hierarchy.stores();
                stores.destroy(StoreKind::Disk, &record.key_id)?;
                this.hierarchy.update(|cas| cas.keys.remove(&record.key_id));
                info!(
                    key_id = record.key_id,
                    tier = record.tier.as_str(),
                    "key of a CA given away"
                );
            }
            Ok(())
        })
        .await
    }

    /// Takes over keys of root and intermediate that another control plane gave away, as PKCS#8 (DER).
    /// All of them are looked at before one is kept; what is here already stays as it is.
    ///
    /// # Errors
    /// One is not the key of a root or intermediate that signs here, on disk; it could not be kept.
    pub async fn take_keys(
        &self,
        keys: Vec<Zeroizing<Vec<u8>>>,
    ) -> Result<Vec<MovedKey>, AuthorityError> {
        self.require_several()?;
        self.to_the_end(async move |this| {
            let _one_at_a_time = this.turn().await?;
            let mut judged = Vec::new();
            for pkcs8 in &keys {
                judged.push((this.whose(pkcs8)?, pkcs8));
            }
            let mut taken = Vec::new();
            for (record, pkcs8) in judged {
                let (store, key_id) = (StoreKind::Disk, record.key_id.as_str());
                if this.hierarchy.read().key(key_id).is_none() {
                    let key = this.hierarchy.stores().take(store, key_id, pkcs8)?;
                    let held = HeldKey { store, key };
                    this.hierarchy
                        .update(|cas| cas.keys.insert(key_id.to_owned(), held));
                    info!(
                        key_id,
                        tier = record.tier.as_str(),
                        "key of a CA taken over"
                    );
                }
                taken.push(MovedKey::of(&record));
            }
            Ok(taken)
        })
        .await
    }

    /// The CA whose key it is.
    fn whose(&self, pkcs8: &[u8]) -> Result<CaRecord, AuthorityError> {
        let key_id = key_id_of_private(pkcs8).ok_or_else(no_key)?;
        let cas = self.hierarchy.read();
        let record = cas
            .signers()
            .find(|it| it.key_id == key_id && it.tier != Tier::Issuing)
            .ok_or_else(|| key_of_no_ca(&key_id))?;
        match record.store {
            Some(StoreKind::Disk) => Ok(record.clone()),
            _ => Err(key_of_no_ca(&key_id).into()),
        }
    }

    /// Those of them whose keys are on this disk; at least one.
    fn movable_keys(&self) -> Result<Vec<CaRecord>, Denied> {
        let (on_disk, elsewhere): (Vec<_>, Vec<_>) = self
            .shared_keys_here()
            .into_iter()
            .partition(|it| it.store == Some(StoreKind::Disk));
        match (on_disk.is_empty(), elsewhere.first()) {
            (false, _) => Ok(on_disk),
            (true, Some(kept)) => Err(key_in_token(&kept.key_id)),
            (true, None) => Err(no_key_here(self.hierarchy.read().signer.as_deref())),
        }
    }

    /// The roots and intermediates that sign or wait, and whose key is here.
    fn shared_keys_here(&self) -> Vec<CaRecord> {
        let cas = self.hierarchy.read();
        let shared = cas.signers().filter(|it| it.tier != Tier::Issuing);
        let here = shared.filter(|it| cas.key(&it.key_id).is_some());
        here.cloned().collect()
    }

    fn require_several(&self) -> Result<(), Denied> {
        if self.settings.replica().is_empty() {
            return Err(Denied {
                code: "not_several",
                message: "this control plane is alone, and no other could sign with its keys"
                    .to_owned(),
                remedy: "set replica.name and store.url, and invite another one with countersign replica invite",
            });
        }
        Ok(())
    }
}

impl MovedKey {
    fn of(record: &CaRecord) -> Self {
        Self {
            key_id: record.key_id.clone(),
            tier: record.tier,
        }
    }
}

fn no_key_here(signer: Option<&str>) -> Denied {
    let who = signer.map_or_else(String::new, |name| {
        format!("; {name} signed an issuing CA last")
    });
    Denied {
        code: "no_key_here",
        message: format!("no key of a root or intermediate is on this control plane{who}"),
        remedy: "ask the control plane that certifies CAs: countersign replica list, column ROLE",
    }
}

fn key_in_token(key_id: &str) -> Denied {
    Denied {
        code: "key_in_token",
        message: format!("the key {key_id} is in a token, which it cannot leave"),
        remedy: "give the other control plane the token, or make a new key in another store: \
                 countersign ca rotate-root, or rotate-intermediate",
    }
}

fn no_key() -> Denied {
    Denied {
        code: "key_unreadable",
        message: "a block in the file is no key of a CA (ECDSA P-256, PKCS#8)".to_owned(),
        remedy: "give the file that countersign ca give-key wrote",
    }
}

fn key_of_no_ca(key_id: &str) -> Denied {
    Denied {
        code: "key_of_no_ca",
        message: format!("{key_id} is not the key of a root or intermediate on disk that signs"),
        remedy: "compare with countersign ca status: the CA may have been replaced since the key was given away",
    }
}
