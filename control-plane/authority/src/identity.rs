//! What makes a state itself: its trust domain, epoch and log, fixed at first start.

use std::collections::HashMap;

use countersign_model::Seq;
use countersign_refusal::{Denied, Unavailable};
use countersign_restore::facts::{
    DOUBTS, EPOCH, LOG_ID, PREDECESSOR, Predecessor, TRUST_DOMAIN, random_log_id,
};
use countersign_store::{Entry, Kind, Store, StoreError, Write};

use super::database::REPLICA;
use super::doubts::StoredDoubts;
use super::importing::{REQUESTED, StoredRequest};
use super::record::ACCOUNTED;
use super::rotation::BUNDLE_SEQUENCE;
use super::{AuthorityError, Settings};

const FIRST_EPOCH: u64 = 1;

/// Facts of the whole state, by name.
pub(super) type Meta = HashMap<String, Entry>;

/// What makes this state itself.
pub(super) struct Identity {
    pub(super) epoch: u64,
    pub(super) log_id: u32,
    pub(super) bundle_sequence: u64,
    /// The commit that changed the CAs last.
    pub(super) cas_written: Seq,
    pub(super) requested: Option<StoredRequest>,
    /// Entries of the log that commits account for.
    pub(super) log_accounted: u64,
    /// The replica whose log and issuing CA came with the state.
    pub(super) first_replica: Option<String>,
    /// Where a restore took the state from, and the commit that says so.
    pub(super) predecessor: Option<(Predecessor, Seq)>,
    /// What told before a restart that the state was put back.
    pub(super) doubts: Option<StoredDoubts>,
}

/// Writes the identity of a new state.
pub(super) async fn begin(store: &Store, settings: &Settings) -> Result<Identity, AuthorityError> {
    let log_id = random_log_id(&*settings.entropy)?;
    let name = settings.trust_domain.as_str();
    let writes = vec![
        Write::put(Kind::Meta, TRUST_DOMAIN, &name),
        Write::put(Kind::Meta, EPOCH, &FIRST_EPOCH),
        Write::put(Kind::Meta, LOG_ID, &log_id),
        Write::put(Kind::Meta, BUNDLE_SEQUENCE, &0_u64),
        Write::put(Kind::Meta, ACCOUNTED, &0_u64),
    ];
    let cas_written = store.commit(writes, Vec::new()).await?;
    Ok(Identity {
        epoch: FIRST_EPOCH,
        log_id,
        bundle_sequence: 0,
        cas_written,
        requested: None,
        log_accounted: 0,
        predecessor: None,
        first_replica: None,
        doubts: None,
    })
}

/// Finds the identity of a state again.
pub(super) fn resume(meta: &Meta, settings: &Settings) -> Result<Identity, AuthorityError> {
    let find = |name: &str| {
        let lost = || Unavailable::damaged(format!("the store has lost its {name}"));
        meta.get(name).ok_or_else(lost)
    };
    let stored: String = find(TRUST_DOMAIN)?.read()?;
    if stored != settings.trust_domain.as_str() {
        return Err(AuthorityError::Denied(Denied {
            code: "other_trust_domain",
            message: format!(
                "{} belongs to the trust domain {stored}, not {}",
                settings.data_dir.display(),
                settings.trust_domain.as_str(),
            ),
            remedy: "set trust_domain as it was at first start, or choose another data_dir",
        }));
    }
    Ok(Identity {
        epoch: find(EPOCH)?.read()?,
        log_id: find(LOG_ID)?.read()?,
        bundle_sequence: find(BUNDLE_SEQUENCE)?.read()?,
        cas_written: find(BUNDLE_SEQUENCE)?.seq,
        requested: meta.get(REQUESTED).map(Entry::read).transpose()?,
        log_accounted: find(ACCOUNTED)?.read()?,
        first_replica: meta.get(REPLICA).map(Entry::read).transpose()?,
        predecessor: { meta.get(PREDECESSOR) }
            .map(|entry| Ok::<_, StoreError>((entry.read()?, entry.seq)))
            .transpose()?,
        doubts: meta.get(DOUBTS).map(Entry::read).transpose()?,
    })
}
