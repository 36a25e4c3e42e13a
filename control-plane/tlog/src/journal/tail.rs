//! Where each record of the journal lies, four bytes an entry, so that an entry is read without a
//! search and no body stays in memory.

use std::collections::VecDeque;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{SEGMENT_ENTRIES, folder, record};
use crate::LogError;

/// The segments that are there, and what an archive has beyond them.
#[derive(Debug)]
pub(crate) struct Tail {
    folder: PathBuf,
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    segments: VecDeque<Segment>,
    /// Entries behind the last segment's end that the disk has not taken: one batch at most.
    owed: Vec<Arc<[u8]>>,
}

/// One segment: its first index and where each of its records ends.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) first: u64,
    pub(crate) file: Arc<File>,
    pub(crate) ends: Vec<u32>,
}

impl Segment {
    fn next(&self) -> u64 {
        self.first + self.ends.len() as u64
    }

    /// Length of the first `records` records.
    pub(crate) fn length(&self, records: u64) -> u64 {
        let last = usize::try_from(records).ok().and_then(|n| n.checked_sub(1));
        last.and_then(|last| self.ends.get(last))
            .map_or(0, |end| u64::from(*end))
    }
}

/// Some records of one segment.
struct Span {
    path: PathBuf,
    file: Arc<File>,
    start: u64,
    length: usize,
}

impl Tail {
    pub(crate) fn new(log: &Path, segments: Vec<Segment>) -> Self {
        Self {
            folder: folder(log),
            held: Mutex::new(Held {
                segments: segments.into(),
                owed: Vec::new(),
            }),
        }
    }

    /// The lowest index in the journal; `None` where it is empty.
    pub(crate) fn first(&self) -> Option<u64> {
        self.lock().segments.front().map(|segment| segment.first)
    }

    /// How many segments there are.
    pub(crate) fn segments(&self) -> usize {
        self.lock().segments.len()
    }

    /// How many entries it holds in memory, for the disk has not taken them.
    pub(crate) fn owed(&self) -> u64 {
        self.lock().owed.len() as u64
    }

    /// Every segment and the length of what is durable in it.
    pub(crate) fn lengths(&self) -> Vec<(PathBuf, u64)> {
        let held = self.lock();
        let lengths = held.segments.iter().map(|segment| {
            let path = self.folder.join(segment.first.to_string());
            (path, segment.length(segment.ends.len() as u64))
        });
        lengths.collect()
    }

    pub(crate) fn begin(&self, first: u64, file: Arc<File>) {
        self.lock().segments.push_back(Segment {
            first,
            file,
            ends: Vec::new(),
        });
    }

    /// Says where records of the newest segment end. What was owed is among them.
    pub(crate) fn extend(&self, ends: &[u32]) {
        let mut held = self.lock();
        let newest = held.segments.back_mut();
        let newest = newest.expect("a segment is begun before");
        newest.ends.extend_from_slice(ends);
        held.owed.clear();
    }

    /// Holds the next entries until the disk takes them.
    pub(crate) fn owe(&self, entries: &[&[u8]]) {
        self.lock().owed = entries.iter().map(|entry| (*entry).into()).collect();
    }

    /// The entries from an index on, up to `end` or the end of their segment; `None` where the
    /// journal does not hold that index.
    pub(crate) fn read(&self, from: u64, end: u64) -> Result<Option<Vec<Arc<[u8]>>>, LogError> {
        let Some(span) = self.span(from, end) else {
            return Ok(self.owed_from(from, end));
        };
        let mut bytes = vec![0; span.length];
        span.file
            .read_exact_at(&mut bytes, span.start)
            .map_err(LogError::unreadable(&span.path))?;
        let (mut entries, mut rest, mut index) = (Vec::new(), &bytes[..], from);
        while !rest.is_empty() {
            let offset = span.start + (bytes.len() - rest.len()) as u64;
            let damaged =
                || LogError::damaged_at(&span.path, offset, "not the record written here");
            let (record, later) = record::parse(rest).ok_or_else(damaged)?;
            if record.index != index {
                return Err(damaged());
            }
            entries.push(record.entry.into());
            (rest, index) = (later, index + 1);
        }
        Ok(Some(entries))
    }

    /// The handle stays readable though the file is removed meanwhile.
    fn span(&self, from: u64, end: u64) -> Option<Span> {
        let segments = &self.lock().segments;
        let skipped = from.checked_sub(segments.front()?.first)? / SEGMENT_ENTRIES;
        let segment = segments.get(usize::try_from(skipped).ok()?)?;
        let end = end.min(segment.next());
        if from >= end {
            return None;
        }
        let start = segment.length(from - segment.first);
        let length = segment.length(end - segment.first) - start;
        Some(Span {
            path: self.folder.join(segment.first.to_string()),
            file: segment.file.clone(),
            start,
            length: usize::try_from(length).ok()?,
        })
    }

    fn owed_from(&self, from: u64, end: u64) -> Option<Vec<Arc<[u8]>>> {
        let held = self.lock();
        let first = held.segments.back()?.next();
        let skipped = usize::try_from(from.checked_sub(first)?).ok()?;
        let wanted = usize::try_from(end.checked_sub(from)?).ok()?;
        let owed = held.owed.get(skipped..)?.iter().take(wanted);
        let owed: Vec<_> = owed.cloned().collect();
        (!owed.is_empty()).then_some(owed)
    }

    /// Forgets the segments that end at or below an index and gives their paths, oldest first.
    pub(crate) fn forget(&self, below: u64) -> Vec<PathBuf> {
        let segments = &mut self.lock().segments;
        let whole = |segment: &Segment| segment.first + SEGMENT_ENTRIES <= below;
        let count = segments.iter().take_while(|segment| whole(segment)).count();
        let forgotten = segments.drain(..count);
        forgotten
            .map(|segment| self.folder.join(segment.first.to_string()))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        // Nothing panics between two states of it.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
