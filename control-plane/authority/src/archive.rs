//! The issuance log of this control plane in the database, which has each entry before the disk does: the
//! entries survive the loss of this machine, and the other control planes take them from there.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use countersign_ca::log::{FOLDER, Log, Noted, Said};
use countersign_ca::sign::Signed;
use countersign_model::{Coordinate, Seq};
use countersign_refusal::Unavailable;
use countersign_store::{Commit, Kind, LogEntry, LogSignature, Store, StoreError, Write};
use countersign_telemetry::{Principal, peer_line};
use countersign_tlog::{Archive, NotKept};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::key_uses::Claims;
use super::{AuthorityError, Settings};

/// How often the thread of the log looks whether the log is closed, while it waits for the database.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Most signatures that wait for the database. One that finds no room is brought by the next start.
const MAX_WAITING: usize = 4_096;
/// Most signatures of a commit.
pub(super) const SIGNATURES_AT_ONCE: usize = 256;

/// The log in the database.
#[derive(Debug)]
pub(super) struct DatabaseArchive {
    store: Arc<Store>,
    log_id: u32,
    runtime: Handle,
    sequence: Arc<AtomicU64>,
    claims: Arc<Claims>,
    is_closed: Arc<AtomicBool>,
}

/// Where the signatures of this control plane go, and the end of what its log waits for.
#[derive(Debug, Default)]
pub(super) struct Archived {
    /// `None` where the log is in files alone.
    signatures: Option<mpsc::Sender<LogSignature>>,
    is_closed: Arc<AtomicBool>,
    /// Whether the entries of the log came into the database with this start.
    is_brought: bool,
}

impl Archived {
    /// From which entry on signatures are brought, where those below an index were, as is stored.
    pub(super) fn lacks_from(&self, brought: u64) -> u64 {
        if self.is_brought { 0 } else { brought }
    }

    /// A certificate was given out: the other control planes show it too.
    pub(super) fn signed(&self, signed: &Signed) {
        let Some(signatures) = &self.signatures else {
            return;
        };
        let entry = signed.issuance().serial.coordinate();
        let signature = kept(entry, signed.signature().to_vec());
        if signatures.try_send(signature).is_err() {
            let log = Principal::part("signatures");
            peer_line!(
                WARN,
                log,
                ?entry,
                "a signature waits for the next start to be in the database"
            );
        }
    }
}

pub(super) fn kept(entry: Coordinate, bytes: Vec<u8>) -> LogSignature {
    LogSignature {
        log_id: entry.log_id(),
        index: entry.index(),
        bytes,
    }
}

impl Drop for Archived {
    /// The log ends its thread as it is dropped, and that must wait for no database then.
    fn drop(&mut self) {
        self.is_closed.store(true, Ordering::Release);
    }
}

/// Opens the log of this control plane; in the database first, where that keeps logs.
pub(super) async fn open_log(
    (log_id, brought): (u32, &str),
    settings: &Settings,
    store: &Arc<Store>,
    sequence: &Arc<AtomicU64>,
    claims: &Arc<Claims>,
) -> Result<(Log, Archived), AuthorityError> {
    let (trust_domain, entropy) = (settings.trust_domain.clone(), settings.entropy.clone());
    let data_dir = settings.data_dir.clone();
    if !store.keeps_log() {
        let log = Log::open(log_id, &trust_domain, &data_dir, entropy, None)?;
        return Ok((log, Archived::default()));
    }
    let (sender, queue) = mpsc::channel(MAX_WAITING);
    tokio::spawn(keep_signatures(
        Arc::clone(store),
        queue,
        Arc::clone(sequence),
    ));
    // A log that came with its state from files.
    let is_brought = store.log_size(log_id).await? == 0 && data_dir.join(FOLDER).exists();
    if is_brought {
        // Of another database than this, before anything can be taken for brought here.
        let unsaid = Write::remove(Kind::Meta, brought);
        store.commit(vec![unsaid], Vec::new()).await?;
    }
    let archived = Archived {
        signatures: Some(sender),
        is_closed: Arc::default(),
        is_brought,
    };
    let mut archive = DatabaseArchive {
        store: Arc::clone(store),
        log_id,
        runtime: Handle::current(),
        sequence: Arc::clone(sequence),
        claims: Arc::clone(claims),
        is_closed: Arc::clone(&archived.is_closed),
    };
    let open = move || {
        let open = |archive| Log::open(log_id, &trust_domain, &data_dir, entropy.clone(), archive);
        if is_brought {
            open(None)?.bytes().fill(&mut archive)?;
        }
        open(Some(Box::new(archive)))
    };
    let opened = tokio::task::spawn_blocking(open).await;
    Ok((opened.map_err(Unavailable::retry)??, archived))
}

/// Brings signatures into the database until nobody has any more.
async fn keep_signatures(
    store: Arc<Store>,
    mut queue: mpsc::Receiver<LogSignature>,
    sequence: Arc<AtomicU64>,
) {
    let mut batch = Vec::new();
    while queue.recv_many(&mut batch, SIGNATURES_AT_ONCE).await > 0 {
        let commit = Commit {
            signatures: std::mem::take(&mut batch),
            ..Commit::default()
        };
        let sequence = Arc::clone(&sequence);
        let kept = store.commit_then(commit, move |seq| {
            sequence.fetch_max(seq.0, Ordering::AcqRel);
        });
        if let Err(error) = kept.await {
            let log = Principal::part("signatures");
            peer_line!(WARN, log, %error, "signatures wait for the next start to be in the database");
        }
    }
}

impl DatabaseArchive {
    /// The log of a control plane that is gone, to be read: nobody adds to it any more.
    pub(super) fn of_another(store: &Arc<Store>, log_id: u32) -> Self {
        Self {
            store: Arc::clone(store),
            log_id,
            runtime: Handle::current(),
            sequence: Arc::default(),
            claims: Arc::default(),
            is_closed: Arc::default(),
        }
    }

    /// Waits on this thread for what the runtime answers; `None` where the log is closed meanwhile.
    fn wait<T: Send + 'static>(
        &self,
        asked: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let (reply, answer) = sync_channel(1);
        self.runtime.spawn(async move {
            // The log may be closed by now.
            let _ = reply.send(asked.await);
        });
        loop {
            match answer.recv_timeout(LOOK_EVERY) {
                Ok(answer) => return Some(answer),
                Err(RecvTimeoutError::Timeout) if !self.is_closed.load(Ordering::Acquire) => {}
                Err(_) => return None,
            }
        }
    }
}

impl Archive for DatabaseArchive {
    fn keep(&mut self, first: u64, entries: &[&[u8]]) -> Result<u64, NotKept> {
        let log_id = self.log_id;
        // A log that is copied has entries that nobody claims a key of.
        let claimed = if self.claims.is_empty() { &[] } else { entries };
        let keys = (first..).zip(claimed);
        let keys: Vec<_> = keys
            .filter_map(|(index, bytes)| certified(log_id, index, bytes))
            .collect();
        let entries = (first..).zip(entries).map(|(index, bytes)| LogEntry {
            log_id,
            index,
            bytes: bytes.to_vec(),
        });
        let commit = Commit {
            entries: entries.collect(),
            ..Commit::default()
        };
        let (store, sequence) = (Arc::clone(&self.store), Arc::clone(&self.sequence));
        let claims = Arc::clone(&self.claims);
        let kept = self.wait(async move {
            let then = move |seq: Seq| {
                keys.iter().for_each(|key| claims.logged(key));
                sequence.fetch_max(seq.0, Ordering::AcqRel);
            };
            store.commit_then(commit, then).await
        });
        match kept {
            Some(Ok(seq)) => Ok(seq.0),
            // Somebody else writes to this log.
            Some(Err(StoreError::Stopped | StoreError::EntryExists { .. })) | None => {
                Err(NotKept::Stopped)
            }
            Some(Err(error)) => Err(NotKept::Refused(error.to_string())),
        }
    }

    fn end(&mut self) -> Result<u64, String> {
        let (store, log_id) = (Arc::clone(&self.store), self.log_id);
        let end = self.wait(async move { store.log_size(log_id).await });
        end.ok_or_else(closed)?.map_err(|error| error.to_string())
    }

    fn page(&mut self, from: u64) -> Result<Vec<(u64, Vec<u8>)>, String> {
        let (store, log_id) = (Arc::clone(&self.store), self.log_id);
        let page = self.wait(async move { store.log_entries(log_id, from).await });
        let page = page
            .ok_or_else(closed)?
            .map_err(|error| error.to_string())?;
        Ok(page
            .into_iter()
            .map(|(entry, _)| (entry.index, entry.bytes))
            .collect())
    }
}

/// The key that an entry certifies.
fn certified(log_id: u32, index: u64, bytes: &[u8]) -> Option<[u8; 32]> {
    let entry = Coordinate::new(log_id, index).ok()?;
    match Noted::read(entry, bytes).ok()?.said().ok()? {
        Said::Issued(logged) => Some(logged.issuance().spki_sha256),
        Said::Other(_) | Said::Unknown => None,
    }
}

fn closed() -> String {
    "the log is closed".to_owned()
}
