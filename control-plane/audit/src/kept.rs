//! Checkpoints that were kept elsewhere, where several logs are judged: each is of one of them, or of a
//! log that one of them goes on from.

use std::path::{Path, PathBuf};

use tlog_tiles::Checkpoint;

use crate::flaw::{Flaw, Flaws};
use crate::folder::{Folder, MAX_TEXT_BYTES, read};
use crate::keys::LogKeys;
use crate::report::Report;
use crate::walk::root_at;

/// Judges the checkpoints by logs whose tiles were judged before. `keys` are those of the logs.
pub(crate) fn judge(paths: &[PathBuf], keys: &[LogKeys], logs: &mut [Report]) -> Vec<Flaw> {
    let mut flaws = Flaws::default();
    for path in paths {
        let note = read(path, MAX_TEXT_BYTES).map_err(|unread| unread.to_string());
        let judged = note
            .and_then(|note| signed(&note, keys))
            .and_then(|kept| begins(&kept, logs));
        if let Err(problem) = judged {
            flaws.push(Flaw::new(path, problem));
        }
    }
    flaws.into_vec()
}

/// The checkpoint of a note, where a key of one of the logs signed it.
fn signed(note: &[u8], keys: &[LogKeys]) -> Result<Checkpoint, String> {
    let mut outcome = Err("is of no log".to_owned());
    for keys in keys {
        outcome = keys.kept(note);
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

/// A log begins with the entries of a checkpoint of it.
fn begins(kept: &Checkpoint, logs: &mut [Report]) -> Result<(), String> {
    let mut is_known = false;
    for log in logs {
        let mut before = log.goes_on_from.iter();
        let before = before.find(|from| from.is_from(kept.origin()));
        if log.origin != kept.origin() && before.is_none() {
            continue;
        }
        is_known = true;
        let end = before.map_or(log.size, |from| from.entries);
        if kept.size() > end {
            return Err(format!(
                "has {} entries, and {} only the first {end} of them",
                kept.size(),
                log.log
            ));
        }
        let root = root_at(&Folder::new(Path::new(&log.log)), kept.size());
        let root = root.map_err(|unread| format!("a tile of {} {unread}", log.log))?;
        if root.is_some_and(|root| root != *kept.hash()) {
            let size = kept.size();
            return Err(format!(
                "its root hash is not that of the first {size} entries of {}",
                log.log
            ));
        }
        log.checkpoints += 1;
    }
    if is_known {
        return Ok(());
    }
    Err(format!(
        "is one of {}, which none of the logs is or goes on from",
        kept.origin()
    ))
}
