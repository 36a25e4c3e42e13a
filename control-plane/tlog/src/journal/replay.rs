//! What the journal holds after a crash.
//!
//! A write that was under way when power failed may have left anything behind the last fsync; it
//! was acknowledged to nobody and is cut off. Where a checkpoint, an attachment or a later batch
//! shows that a bad record *was* durable, it is damage and the log does not open.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::record::{self, MAX_RECORD_BYTES};
use super::tail::Segment;
use super::{SEGMENT_ENTRIES, folder, segment_of};
use crate::{LogError, files};

/// The segments, and how many entries the log has.
#[derive(Debug)]
pub(crate) struct Replayed {
    pub(crate) segments: Vec<Segment>,
    pub(crate) durable: u64,
}

impl Replayed {
    /// First index and length of the newest segment.
    pub(crate) fn newest(&self) -> Option<(u64, u64)> {
        let newest = self.segments.last()?;
        Some((newest.first, newest.length(newest.ends.len() as u64)))
    }
}

/// Reads every segment. A checkpoint covers the entries below `published`; everything below
/// `acknowledged` was once reported as durable.
pub(crate) fn replay(log: &Path, published: u64, acknowledged: u64) -> Result<Replayed, LogError> {
    let folder = folder(log);
    let firsts = present(&folder, published)?;
    let mut durable = segment_of(published);
    let mut segments: Vec<Segment> = Vec::new();
    for first in &firsts {
        let path = folder.join(first.to_string());
        let known = published
            .max(acknowledged)
            .max(*firsts.last().unwrap_or(first));
        if *first != durable {
            return Err(missing(&folder, durable));
        }
        let segment = read(&path, *first, known)?;
        durable = first + segment.ends.len() as u64;
        segments.push(segment);
    }
    if durable < published.max(acknowledged) {
        return Err(missing(&folder, durable));
    }
    Ok(Replayed { segments, durable })
}

fn missing(folder: &Path, index: u64) -> LogError {
    let path = folder.join(segment_of(index).to_string());
    LogError::damaged(&path, &format!("entry {index} is missing"))
}

/// First indexes of the segments, without those that full bundles under a checkpoint hold: a
/// crash came before their removal.
fn present(folder: &Path, published: u64) -> Result<Vec<u64>, LogError> {
    let names = fs::read_dir(folder).map_err(LogError::unreadable(folder))?;
    let mut firsts = Vec::new();
    for name in names {
        let path = name.map_err(LogError::unreadable(folder))?.path();
        let first = first_of(&path).ok_or_else(|| LogError::damaged(&path, "is no segment"))?;
        if first + SEGMENT_ENTRIES <= published {
            files::remove(&path).map_err(LogError::refused(&path))?;
        } else {
            firsts.push(first);
        }
    }
    firsts.sort_unstable();
    Ok(firsts)
}

fn first_of(path: &Path) -> Option<u64> {
    let first: u64 = path.file_name()?.to_str()?.parse().ok()?;
    first.is_multiple_of(SEGMENT_ENTRIES).then_some(first)
}

/// Reads a segment, cuts off an unfinished write and makes the rest durable: the process that
/// wrote it may have died before it could.
fn read(path: &Path, first: u64, known: u64) -> Result<Segment, LogError> {
    let bytes = files::read(path, SEGMENT_ENTRIES * MAX_RECORD_BYTES);
    let bytes = bytes
        .map_err(LogError::unreadable(path))?
        .unwrap_or_default();
    let (ends, sound) = scan(&bytes, first);
    let (offset, next) = (sound as u64, first + ends.len() as u64);
    let file = files::open(path).map_err(LogError::unreadable(path))?;
    if sound < bytes.len() {
        let rest = &bytes[sound..];
        if next < known || next == first + SEGMENT_ENTRIES || a_later_batch_follows(rest, next) {
            let what = format!("entry {next} is not what was written here");
            return Err(LogError::damaged_at(path, offset, &what));
        }
        tracing::warn!(path = %path.display(), offset, bytes = rest.len(),
            "an unfinished write at the end of the issuance log was cut off");
        file.set_len(offset).map_err(LogError::refused(path))?;
    }
    file.sync_all().map_err(|_| LogError::Stopped)?;
    Ok(Segment {
        first,
        file: Arc::new(file),
        ends,
    })
}

/// Where each sound record ends, and where the sound part ends.
fn scan(bytes: &[u8], first: u64) -> (Vec<u32>, usize) {
    let (mut ends, mut rest) = (Vec::new(), bytes);
    for index in first..first + SEGMENT_ENTRIES {
        let Some((record, later)) = record::parse(rest) else {
            break;
        };
        let Ok(end) = u32::try_from(bytes.len() - later.len()) else {
            break;
        };
        if record.index != index {
            break;
        }
        ends.push(end);
        rest = later;
    }
    (ends, bytes.len() - rest.len())
}

/// A record of a later batch than that of the bad record `index`: the bad one was durable.
fn a_later_batch_follows(bytes: &[u8], index: u64) -> bool {
    let later = |record: record::Record<'_>| {
        let batch = record.index.checked_sub(u64::from(record.place));
        batch.is_some_and(|batch| batch > index) && record.index < index + SEGMENT_ENTRIES
    };
    (1..bytes.len()).any(|at| record::parse(&bytes[at..]).is_some_and(|(found, _)| later(found)))
}
