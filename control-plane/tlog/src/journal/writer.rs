//! Writes the journal: a batch is one write and one fdatasync.
//!
//! Where the write fails, nothing of it is kept and may be tried again. Where the fsync fails, or
//! what was written cannot be taken back, the log stops for good: nobody knows what the disk holds.

use std::sync::Arc;

use super::record;
use super::store::JournalStore;
use super::tail::Tail;
use super::{MAX_SEGMENTS, SEGMENT_ENTRIES, segment_of};
use crate::LogError;

/// What the buffer of a batch may keep between batches.
const KEPT_BUFFER_BYTES: usize = 1 << 20;

/// The writer's state.
#[derive(Debug)]
pub(crate) struct Writer<S> {
    tail: Arc<Tail>,
    store: S,
    /// First index that is not in the journal.
    next: u64,
    /// First index of the segment that is written, and its durable length.
    segment: Option<u64>,
    length: u64,
    buffer: Vec<u8>,
    ends: Vec<u32>,
}

impl<S: JournalStore> Writer<S> {
    /// Goes on at `next`; `segment` is the newest one and its length.
    pub(crate) fn new(tail: Arc<Tail>, store: S, next: u64, segment: Option<(u64, u64)>) -> Self {
        Self {
            tail,
            store,
            next,
            segment: segment.map(|(first, _)| first),
            length: segment.map_or(0, |(_, length)| length),
            buffer: Vec::new(),
            ends: Vec::new(),
        }
    }

    /// First index that is not in the journal.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// How many of the next entries their segment has room for, which is at least one. Begins it
    /// where it is not there.
    pub(crate) fn begin_segment(&mut self) -> Result<usize, LogError> {
        let first = segment_of(self.next);
        if self.segment != Some(first) {
            if self.tail.segments() >= MAX_SEGMENTS {
                let reason = "too many entries wait for a checkpoint";
                return Err(LogError::Refused(reason.to_owned()));
            }
            let begun = self.store.begin(first);
            let file = begun.map_err(|error| LogError::Refused(format!("journal: {error}")))?;
            self.store.sync_folder().map_err(|_| LogError::Stopped)?;
            self.tail.begin(first, file);
            (self.segment, self.length) = (Some(first), 0);
        }
        let room = first + SEGMENT_ENTRIES - self.next;
        Ok(usize::try_from(room).expect("a segment has 4,096 entries"))
    }

    /// Lays out the records of the next entries, no more than their segment has room for.
    pub(crate) fn lay_out<'a>(&mut self, entries: impl Iterator<Item = &'a [u8]>) {
        self.buffer.clear();
        self.ends.clear();
        for ((index, place), entry) in (self.next..).zip(0..).zip(entries) {
            record::encode(&mut self.buffer, index, place, entry);
            let end = self.length + self.buffer.len() as u64;
            let end = u32::try_from(end).expect("a segment is bounded below four gigabytes");
            self.ends.push(end);
        }
    }

    /// Makes what was laid out durable. It may be called again after a refusal.
    pub(crate) fn write(&mut self) -> Result<(), LogError> {
        if let Err(error) = self.store.write(&self.buffer, self.length) {
            self.store
                .truncate(self.length)
                .map_err(|_| LogError::Stopped)?;
            return Err(LogError::Refused(format!("journal: {error}")));
        }
        self.store.sync().map_err(|_| LogError::Stopped)?;
        self.length += self.buffer.len() as u64;
        self.next += self.ends.len() as u64;
        self.tail.extend(&self.ends);
        self.buffer.shrink_to(KEPT_BUFFER_BYTES);
        Ok(())
    }
}
