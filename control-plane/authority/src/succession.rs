//! What a restore makes of a backup: a state that follows the one that was lost and is never
//! mistaken for it.
//!
//! A new epoch, so that sidecars take it although they have seen more. A new log that begins with
//! the old entries: what the lost control plane logged after the backup keeps its coordinates, and
//! nothing else ever has them. No join token that was unused then: it may have been used since.

use std::sync::Arc;

use countersign_attest::join_token::Token;
use countersign_attest::nodes::{NodeKey, Nodes};
use countersign_ca::log::Log;
use countersign_model::entropy::Entropy;
use countersign_model::{Serial, TrustDomain};
use countersign_proto::log::Restored;
use countersign_proto::log::entry::What;
use countersign_store::{DataDir, Entry, Kind, Store, Write};
use countersign_telemetry::{Principal, peer_line};
use countersign_verify::VerifiedSvid;
use jiff::Timestamp;

use super::doubts::DOUBTS;
use super::identity::{EPOCH, LOG_ID, PREDECESSOR, Predecessor, TRUST_DOMAIN, random_log_id};
use super::{AttestedNode, Authority, AuthorityError};

/// What the restored state is.
#[derive(Clone, Copy, Debug)]
pub struct Succession {
    /// The epoch that the state is in from now on.
    pub epoch: u64,
    /// The id of its log.
    pub log_id: u32,
    /// How many entries of that log were taken over.
    pub log_size: u64,
    /// Join tokens that are good no more.
    pub tokens_dropped: usize,
}

/// Makes the content of a backup a state of its own. The caller throws the folder away where this
/// fails.
///
/// # Errors
/// What was restored does not read, or the disk.
pub async fn succeed(
    data_dir: &DataDir,
    entropy: Arc<dyn Entropy>,
    now: Timestamp,
) -> Result<Succession, AuthorityError> {
    let (store, _) = Store::open(data_dir).await?;
    let entries = store.snapshot().await?;
    let facts = Facts(&entries);
    let damaged = |_| AuthorityError::Unavailable("the trust domain does not read".to_owned());
    let trust_domain = TrustDomain::new(&facts.read::<String>(TRUST_DOMAIN)?).map_err(damaged)?;
    let previous: u32 = facts.read(LOG_ID)?;
    let log_id = random_log_id(&*entropy)?;
    // Also beyond the epoch of another restore of the same backup.
    let began = u64::try_from(now.as_millisecond()).unwrap_or_default();
    let epoch = began.max(facts.read::<u64>(EPOCH)? + 1);

    let kept = data_dir.path().join(format!("log-{previous:06x}"));
    let log = Log::succeed(log_id, &trust_domain, data_dir.path(), &kept, entropy)?;
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
    let succession = Succession {
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
    Ok(succession)
}

/// Facts of the whole state, by name.
struct Facts<'a>(&'a [Entry]);

impl Facts<'_> {
    fn read<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<T, AuthorityError> {
        let mut facts = self.0.iter().filter(|entry| entry.kind == Kind::Meta);
        let fact = facts.find(|entry| entry.key == name);
        let lost = || AuthorityError::Unavailable(format!("the store has lost its {name}"));
        Ok(fact.ok_or_else(lost)?.read()?)
    }
}

fn unused_tokens(entries: &[Entry]) -> Result<Vec<Write>, AuthorityError> {
    let mut unused = Vec::new();
    for entry in entries.iter().filter(|entry| entry.kind == Kind::Token) {
        if entry.read::<Token>()?.used_at.is_none() {
            unused.push(Write::remove(Kind::Token, entry.key.clone()));
        }
    }
    Ok(unused)
}

impl Authority {
    /// A node whose key the control plane before the restore certified after the backup: the
    /// handshake has shown a certificate of ours that is in the lost part of the log, and the node
    /// has neither attested nor been evicted since, by the log and by the clock. So a fleet comes
    /// back by itself; such a certificate ends by itself.
    pub fn recognise_by_predecessor(&self, svid: &VerifiedSvid) -> Option<AttestedNode> {
        let predecessor = self.predecessor?;
        let serial = Serial::from_bytes(&svid.serial).ok()?;
        let certified_at = svid.not_before + self.settings.times.svid_backdate;
        let id = &svid.id;
        // Who could not be recognised anyway costs no look into the log.
        let may_adopt = |nodes: &Nodes| nodes.may_adopt(id, predecessor.size, certified_at);
        if !may_adopt(&self.read().nodes) {
            return None;
        }
        // A copy that was put back has gone on before it was restored, at the same coordinates.
        let is_beyond = serial.index() >= predecessor.size;
        let is_of_it = serial.log_id() == predecessor.log_id;
        if !is_of_it || !(is_beyond || self.is_missing(&serial)) {
            return None;
        }
        let key = NodeKey {
            index: predecessor.size,
            spki_sha256: svid.spki_sha256,
            serial,
        };
        let known = self.write().nodes.adopt(id, key, certified_at)?;
        peer_line!(
            INFO,
            Principal::identity(id.as_str()),
            node = %id,
            %serial,
            "node recognised by a certificate from before the restore"
        );
        Some(known)
    }
}
