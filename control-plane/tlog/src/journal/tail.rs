//! Where each record of the journal lies, four bytes an entry, so that an entry is read without a
//! search and no body stays in memory.

use std::collections::VecDeque;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{SEGMENT_ENTRIES, folder, record};
use crate::LogError;

/// The segments that are there.
#[derive(Debug)]
pub(crate) struct Tail {
    folder: PathBuf,
    segments: Mutex<VecDeque<Segment>>,
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
            segments: Mutex::new(segments.into()),
        }
    }

    /// The lowest index in the journal; `None` where it is empty.
    pub(crate) fn first(&self) -> Option<u64> {
        self.lock().front().map(|segment| segment.first)
    }

    /// How many segments there are.
    pub(crate) fn segments(&self) -> usize {
        self.lock().len()
    }

    /// Every segment and the length of what is durable in it.
    pub(crate) fn lengths(&self) -> Vec<(PathBuf, u64)> {
        let segments = self.lock();
        let lengths = segments.iter().map(|segment| {
            let path = self.folder.join(segment.first.to_string());
            (path, segment.length(segment.ends.len() as u64))
        });
        lengths.collect()
    }

    pub(crate) fn begin(&self, first: u64, file: Arc<File>) {
        self.lock().push_back(Segment {
            first,
            file,
            ends: Vec::new(),
        });
    }

    /// Says where records of the newest segment end.
    pub(crate) fn extend(&self, ends: &[u32]) {
        let mut segments = self.lock();
        let newest = segments.back_mut().expect("a segment is begun before");
        newest.ends.extend_from_slice(ends);
    }

    /// The entries from an index on, up to `end` or the end of their segment; `None` where the
    /// journal does not hold that index.
    pub(crate) fn read(&self, from: u64, end: u64) -> Result<Option<Vec<Arc<[u8]>>>, LogError> {
        let Some(span) = self.span(from, end) else {
            return Ok(None);
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
        let segments = self.lock();
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

    /// Forgets the segments that end at or below an index and gives their paths, oldest first.
    pub(crate) fn forget(&self, below: u64) -> Vec<PathBuf> {
        let mut segments = self.lock();
        let whole = |segment: &Segment| segment.first + SEGMENT_ENTRIES <= below;
        let count = segments.iter().take_while(|segment| whole(segment)).count();
        let forgotten = segments.drain(..count);
        forgotten
            .map(|segment| self.folder.join(segment.first.to_string()))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Segment>> {
        // Nothing panics between two states of the list.
        self.segments.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
