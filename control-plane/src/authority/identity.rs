//! What makes a state itself: its trust domain, epoch and log, fixed at first start.

use std::collections::HashMap;

use aws_lc_rs::rand;
use countersign_model::Serial;

use super::rotation::BUNDLE_SEQUENCE;
use super::{AuthorityError, Denied, Settings};
use crate::store::{Change as Write, Entry, Kind, Seq, Store};

const TRUST_DOMAIN: &str = "trust_domain";
const EPOCH: &str = "epoch";
const LOG_ID: &str = "log_id";
const FIRST_EPOCH: u64 = 1;

/// Facts of the whole state, by name.
pub(super) type Meta = HashMap<String, Entry>;

/// What makes this state itself.
pub(super) struct Identity {
    pub(super) epoch: u64,
    pub(super) log_id: u32,
    pub(super) bundle_sequence: u64,
}

/// Writes the identity of a new state.
pub(super) async fn begin(store: &Store, settings: &Settings) -> Result<Identity, AuthorityError> {
    let mut random = [0; 4];
    rand::fill(&mut random).map_err(|_| {
        AuthorityError::Unavailable("the operating system gives no random bytes".to_owned())
    })?;
    let log_id = Serial::log_id_from(u32::from_be_bytes(random));
    let name = settings.trust_domain.as_str();
    let writes = vec![
        Write::put(Kind::Meta, TRUST_DOMAIN, &name),
        Write::put(Kind::Meta, EPOCH, &FIRST_EPOCH),
        Write::put(Kind::Meta, LOG_ID, &log_id),
        Write::put(Kind::Meta, BUNDLE_SEQUENCE, &0_u64),
    ];
    let _: Seq = store.commit(writes, Vec::new()).await?;
    Ok(Identity {
        epoch: FIRST_EPOCH,
        log_id,
        bundle_sequence: 0,
    })
}

/// Finds the identity of a state again.
pub(super) fn resume(meta: &Meta, settings: &Settings) -> Result<Identity, AuthorityError> {
    let find = |name: &str| {
        let lost = || AuthorityError::Unavailable(format!("the store has lost its {name}"));
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
    })
}
