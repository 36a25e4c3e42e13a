//! The one thread that writes the journal: a batch is one write and one fdatasync.
//!
//! Where the write fails, nothing of it is kept and the next batch is tried. Where the fsync
//! fails, or what was written cannot be taken back, the log stops for good: nobody knows what the
//! disk holds.

use std::sync::Arc;

use super::record;
use super::store::JournalStore;
use super::tail::Tail;
use super::{MAX_SEGMENTS, SEGMENT_ENTRIES, segment_of};
use crate::LogError;
use crate::append::{Intake, MAX_WAITING, Waiting};

/// What the buffer of a batch may keep between batches.
const KEPT_BUFFER_BYTES: usize = 1 << 20;

/// The writer's state.
#[derive(Debug)]
pub(crate) struct Writer<S> {
    intake: Arc<Intake>,
    tail: Arc<Tail>,
    store: S,
    /// First index that is not durable.
    next: u64,
    /// First index of the segment that is written, and its durable length.
    segment: Option<u64>,
    length: u64,
    buffer: Vec<u8>,
    ends: Vec<u32>,
}

impl<S: JournalStore> Writer<S> {
    /// Goes on behind what is durable; `segment` is the newest one and its length.
    pub(crate) fn new(
        intake: Arc<Intake>,
        tail: Arc<Tail>,
        store: S,
        segment: Option<(u64, u64)>,
    ) -> Self {
        Self {
            next: intake.durable(),
            intake,
            tail,
            store,
            segment: segment.map(|(first, _)| first),
            length: segment.map_or(0, |(_, length)| length),
            buffer: Vec::new(),
            ends: Vec::new(),
        }
    }

    /// Writes until the log closes or stops.
    pub(crate) fn run(mut self) {
        let intake = self.intake.clone();
        let mut batch = Vec::with_capacity(MAX_WAITING);
        while intake.take(&mut batch) {
            while !batch.is_empty() {
                match self.write(&batch) {
                    Ok(count) => intake.acknowledge(&mut batch, count, self.next),
                    Err(LogError::Stopped) => return intake.stop(&mut batch),
                    Err(error) => intake.refuse(&mut batch, error),
                }
            }
        }
    }

    /// Makes as much of a batch durable as its segment takes.
    fn write(&mut self, batch: &[Waiting]) -> Result<usize, LogError> {
        self.begin_segment()?;
        let room = SEGMENT_ENTRIES - self.next % SEGMENT_ENTRIES;
        let count = usize::try_from(room).map_or(batch.len(), |room| room.min(batch.len()));
        self.encode(&batch[..count]);
        if let Err(error) = self.store.write(&self.buffer, self.length) {
            self.store
                .truncate(self.length)
                .map_err(|_| LogError::Stopped)?;
            return Err(LogError::Refused(format!("journal: {error}")));
        }
        self.store.sync().map_err(|_| LogError::Stopped)?;
        self.length += self.buffer.len() as u64;
        self.next += count as u64;
        self.tail.extend(&self.ends);
        self.buffer.shrink_to(KEPT_BUFFER_BYTES);
        Ok(count)
    }

    fn begin_segment(&mut self) -> Result<(), LogError> {
        let first = segment_of(self.next);
        if self.segment == Some(first) {
            return Ok(());
        }
        if self.tail.segments() >= MAX_SEGMENTS {
            let reason = "too many entries wait for a checkpoint";
            return Err(LogError::Refused(reason.to_owned()));
        }
        let begun = self.store.begin(first);
        let file = begun.map_err(|error| LogError::Refused(format!("journal: {error}")))?;
        self.store.sync_folder().map_err(|_| LogError::Stopped)?;
        self.tail.begin(first, file);
        (self.segment, self.length) = (Some(first), 0);
        Ok(())
    }

    fn encode(&mut self, batch: &[Waiting]) {
        self.buffer.clear();
        self.ends.clear();
        for ((index, place), waiting) in (self.next..).zip(0..).zip(batch) {
            record::encode(&mut self.buffer, index, place, &waiting.entry);
            let end = self.length + self.buffer.len() as u64;
            let end = u32::try_from(end).expect("a segment is bounded below four gigabytes");
            self.ends.push(end);
        }
    }
}
