//! What a restore makes of a backup: a state that follows the one that was lost and is never
//! mistaken for it.
//!
//! A new epoch, so that sidecars take it although they have seen more. A new log that begins with
//! the old entries: what the lost control plane logged after the backup keeps its coordinates, and
//! nothing else ever has them. No join token that was unused then: it may have been used since.
//!
//! The command line does it to a folder that no control plane uses. [`facts`] are what a state is
//! told apart by; the authority writes them first.

pub mod facts;

use std::sync::Arc;

use countersign_attest::join_token::Token;
use countersign_ca::log::Log;
use countersign_model::TrustDomain;
use countersign_model::entropy::{Entropy, NoEntropy};
use countersign_proto::log::Restored;
use countersign_proto::log::entry::What;
use countersign_store::{DataDir, Entry, Kind, Store, StoreError, Write};
use countersign_tlog::LogError;
use jiff::Timestamp;

use facts::{DOUBTS, EPOCH, LOG_ID, PREDECESSOR, Predecessor, TRUST_DOMAIN, random_log_id};

/// What the restored state is.
#[derive(Clone, Copy, Debug)]
pub struct TakenOver {
    /// The epoch that the state is in from now on.
    pub epoch: u64,
    /// The id of its log.
    pub log_id: u32,
    /// How many entries of that log were taken over.
    pub log_size: u64,
    /// Join tokens that are good no more.
    pub tokens_dropped: usize,
}

/// Why a state was not taken over.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The database does not read, or cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log does not read, or cannot be written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// There are no random bytes.
    #[error(transparent)]
    NoEntropy(#[from] NoEntropy),
    /// A fact of the whole state is missing.
    #[error("the store has lost its {0}")]
    Lost(String),
    /// The name of the trust domain is none.
    #[error("the trust domain does not read")]
    TrustDomain,
}

/// Makes the content of a backup a state of its own. The caller throws the folder away where this
/// fails.
///
/// # Errors
/// What was restored does not read, or the disk.
pub async fn take_over(
    data_dir: &DataDir,
    entropy: Arc<dyn Entropy>,
    now: Timestamp,
) -> Result<TakenOver, RestoreError> {
    let (store, _) = Store::open(data_dir).await?;
    let entries = store.snapshot().await?.entries;
    let facts = Facts(&entries);
    let damaged = |_| RestoreError::TrustDomain;
    let trust_domain = TrustDomain::new(&facts.read::<String>(TRUST_DOMAIN)?).map_err(damaged)?;
    let previous: u32 = facts.read(LOG_ID)?;
    let log_id = random_log_id(&*entropy)?;
    // Also beyond the epoch of another restore of the same backup.
    let began = u64::try_from(now.as_millisecond()).unwrap_or_default();
    let epoch = began.max(facts.read::<u64>(EPOCH)? + 1);

    let kept = data_dir.path().join(format!("log-{previous:06x}"));
    let log = Log::take_over(log_id, &trust_domain, data_dir.path(), &kept, entropy)?;
    let predecessor = Predecessor {
        log_id: previous,
        size: log.size(),
    };
    let restored = What::Restored(Restored {
        epoch,
        backup_size: predecessor.size,
        log_id,
        previous_log_id: previous,
    });
    log.note(now, restored).await?;
    log.bytes().publish(now)?;

    let unused = unused_tokens(&entries)?;
    let taken_over = TakenOver {
        epoch,
        log_id,
        log_size: log.size(),
        tokens_dropped: unused.len(),
    };
    let mut writes = unused;
    writes.push(Write::remove(Kind::Meta, DOUBTS));
    writes.push(Write::put(Kind::Meta, EPOCH, &epoch));
    writes.push(Write::put(Kind::Meta, LOG_ID, &log_id));
    writes.push(Write::put(Kind::Meta, PREDECESSOR, &predecessor));
    store.commit(writes, Vec::new()).await?;
    store.flush().await?;
    Ok(taken_over)
}

/// Facts of the whole state, by name.
struct Facts<'a>(&'a [Entry]);

impl Facts<'_> {
    fn read<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<T, RestoreError> {
        let mut facts = self.0.iter().filter(|entry| entry.kind == Kind::Meta);
        let fact = facts.find(|entry| entry.key == name);
        let lost = || RestoreError::Lost(name.to_owned());
        Ok(fact.ok_or_else(lost)?.read()?)
    }
}

fn unused_tokens(entries: &[Entry]) -> Result<Vec<Write>, RestoreError> {
    let mut unused = Vec::new();
    for entry in entries.iter().filter(|entry| entry.kind == Kind::Token) {
        if entry.read::<Token>()?.used_at.is_none() {
            unused.push(Write::remove(Kind::Token, entry.key.clone()));
        }
    }
    Ok(unused)
}
