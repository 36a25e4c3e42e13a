//! Recomputes everything that the checkpoints of a log sign.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;
use tlog_tiles::Checkpoint;

use crate::census::{Census, Keys, SharedKey};
use crate::error::AuditError;
use crate::flaw::{Flaw, Flaws};
use crate::folder::{Folder, MAX_TEXT_BYTES, edge, read};
use crate::frontier::Frontier;
use crate::kept;
use crate::keys::LogKeys;
use crate::report::Report;
use crate::together::{self, Missing};
use crate::unread::Unread;
use crate::walk::{Claim, Progress, Read, Walk};

/// Which logs are judged, and by what.
#[derive(Clone, Debug, Default)]
pub struct Audit {
    /// The folders of the logs; several are also compared with each other.
    pub logs: Vec<PathBuf>,
    /// Verifier keys, each as text or as a file: one for each log as it is now, in their order; further
    /// ones are of logs that they go on from after a restore, or that were sealed. None: the key beside
    /// each log.
    pub keys: Vec<String>,
    /// Checkpoints that were kept elsewhere, of these logs or of those that they go on from.
    pub checkpoints: Vec<PathBuf>,
}

/// What was found.
#[derive(Debug, Serialize)]
pub struct Verdict {
    /// Nothing is wrong.
    pub sound: bool,
    /// What each log is; nothing of one whose newest checkpoint is not its own.
    pub logs: Vec<Report>,
    /// Logs of the trust domain that those which were judged name, and that were not given.
    pub missing: Vec<Missing>,
    /// What is wrong, at most [`MAX_FLAWS`](crate::MAX_FLAWS) of a log and between them.
    pub flaws: Vec<Flaw>,
    /// Public keys that were certified for two identities.
    pub shared_keys: Vec<SharedKey>,
    /// Certificates whose keys were too many to compare.
    pub keys_not_compared: u64,
}

impl Audit {
    /// One log, by the key beside it.
    pub fn of(log: &Path) -> Self {
        Self {
            logs: vec![log.to_owned()],
            ..Self::default()
        }
    }

    /// Judges the logs.
    ///
    /// # Errors
    /// One of them cannot be judged: no checkpoint, no key, a folder that cannot be read.
    pub fn judge(&self, progress: Progress<'_>) -> Result<Verdict, AuditError> {
        let (mut keys, mut logs, mut flaws) = (Keys::default(), Vec::new(), Vec::new());
        // Of several logs it is not known before which of them a checkpoint is of.
        let is_one = self.logs.len() == 1;
        let (given, later) =
            self.checkpoints
                .split_at(if is_one { self.checkpoints.len() } else { 0 });
        let mut known = Vec::new();
        for (place, path) in self.logs.iter().enumerate() {
            let folder = Folder::new(path);
            let key = LogKeys::open(self.keys_of(place)?, &folder)?;
            let (report, found) = verify(&folder, &key, given, &mut keys, progress)?;
            logs.extend(report);
            flaws.extend(found);
            known.push(key);
        }
        if logs.len() == self.logs.len() {
            flaws.extend(kept::judge(later, &known, &mut logs));
        }
        let (between, missing) = together::judge(&logs);
        flaws.extend(between);
        Ok(Verdict {
            missing,
            sound: flaws.is_empty() && keys.shared.is_empty(),
            logs,
            flaws,
            shared_keys: keys.shared,
            keys_not_compared: keys.not_compared,
        })
    }

    /// The keys of one of the logs: its own, then all others.
    fn keys_of(&self, place: usize) -> Result<impl Iterator<Item = &str>, AuditError> {
        let (keys, logs) = (self.keys.len(), self.logs.len());
        if 0 < keys && keys < logs {
            return Err(AuditError::TooFewKeys { keys, logs });
        }
        let own = self.keys.get(place).into_iter();
        let others = self.keys.iter().enumerate();
        let others = others.filter_map(move |(other, key)| (other != place).then_some(key));
        Ok(own.chain(others).map(String::as_str))
    }
}

/// Verifies one log. Without a sound newest checkpoint there is nothing to report but that.
pub(crate) fn verify(
    folder: &Folder,
    key: &LogKeys,
    given: &[PathBuf],
    keys: &mut Keys,
    progress: Progress<'_>,
) -> Result<(Option<Report>, Vec<Flaw>), AuditError> {
    // Listed before the newest checkpoint is read, so that none of them is newer.
    let mut paths = folder.kept()?;
    paths.extend(given.iter().cloned());
    let (checkpoint, edge) = match newest(folder, key)? {
        Ok(newest) => newest,
        Err(flaw) => return Ok((None, vec![flaw])),
    };
    let mut flaws = Flaws::default();
    let first_retained = folder.first_retained().unwrap_or_else(|(path, problem)| {
        flaws.push(Flaw::new(&path, problem));
        0
    });
    let mut walk = Walk {
        folder,
        progress,
        size: checkpoint.size(),
        root: *checkpoint.hash(),
        first_retained,
        claims: claims(&paths, key, &mut flaws),
        frontier: Frontier::default(),
        census: Census::new(keys),
        flaws,
        bytes: 0,
    };
    walk.run(&edge);
    walk.is_called(checkpoint.origin());
    let report = Report {
        log: folder.path().display().to_string(),
        origin: checkpoint.origin().to_owned(),
        log_id: walk.census.log_id.map(|id| format!("{id:06x}")),
        size: walk.size,
        root_hash: hex::encode(walk.root.0),
        first_retained,
        goes_on_from: walk.census.restores,
        seals: walk.census.seals,
        joined: walk.census.joined,
        checkpoints: 1 + paths.len(),
        kinds: walk.census.kinds,
        bytes: walk.bytes,
        authentic: key.given,
    };
    Ok((Some(report), walk.flaws.into_vec()))
}

/// The newest checkpoint and the tiles at its right edge.
fn newest(
    folder: &Folder,
    key: &LogKeys,
) -> Result<Result<(Checkpoint, Vec<Read>), Flaw>, AuditError> {
    let checkpoint = match key.checkpoint(&folder.checkpoint()?) {
        Ok(checkpoint) => checkpoint,
        Err(problem) => return Ok(Err(Flaw::new(&folder.checkpoint_path(), problem))),
    };
    let read = edge(checkpoint.size()).into_iter().map(|tile| {
        let hashes = folder.tile(tile);
        let flaw = |unread: Unread| Flaw::new(&folder.tile_path(tile), unread.to_string());
        hashes.map(|hashes| Read { tile, hashes }).map_err(flaw)
    });
    let edge: Result<Vec<Read>, Flaw> = read.collect();
    Ok(edge.map(|edge| (checkpoint, edge)))
}

/// What the kept checkpoints say, by size. Whose they are makes no difference: a tree that begins
/// with the entries of another one has its root at that size.
fn claims(paths: &[PathBuf], key: &LogKeys, flaws: &mut Flaws) -> BTreeMap<u64, Vec<Claim>> {
    let mut claims: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for path in paths {
        let note = read(path, MAX_TEXT_BYTES).map_err(|unread| unread.to_string());
        match note.and_then(|note| key.kept(&note)) {
            Ok(kept) => claims.entry(kept.size()).or_default().push(Claim {
                path: path.clone(),
                origin: kept.origin().to_owned(),
                root: *kept.hash(),
            }),
            Err(problem) => flaws.push(Flaw::new(path, problem)),
        }
    }
    claims
}
