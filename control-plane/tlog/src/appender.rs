//! The one thread that appends: a batch goes into the archive, where there is one, and then into the
//! journal; then its callers are told.

use std::sync::Arc;
use std::time::Duration;

use crate::LogError;
use crate::append::{Intake, MAX_WAITING, Waiting};
use crate::archive::Archive;
use crate::journal::{JournalStore, Tail, Writer};

/// How often the journal is offered again what the archive alone has, where nobody appends.
const OFFER_EVERY: Duration = Duration::from_secs(1);

/// The appending thread's state.
#[derive(Debug)]
pub(crate) struct Appender<S> {
    intake: Arc<Intake>,
    tail: Arc<Tail>,
    writer: Writer<S>,
    archive: Option<Box<dyn Archive>>,
    /// What is laid out for the journal is in the archive, was acknowledged, and the disk has not
    /// taken it yet.
    is_owed: bool,
}

impl<S: JournalStore> Appender<S> {
    /// Goes on behind what is durable.
    pub(crate) fn new(
        intake: Arc<Intake>,
        tail: Arc<Tail>,
        writer: Writer<S>,
        archive: Option<Box<dyn Archive>>,
    ) -> Self {
        Self {
            intake,
            tail,
            writer,
            archive,
            is_owed: false,
        }
    }

    /// Appends until the log closes or stops.
    pub(crate) fn run(mut self) {
        let intake = self.intake.clone();
        let mut batch = Vec::with_capacity(MAX_WAITING);
        while intake.take(&mut batch, self.is_owed.then_some(OFFER_EVERY)) {
            if batch.is_empty() && matches!(self.settle(), Err(LogError::Stopped)) {
                return intake.stop(&mut batch);
            }
            while !batch.is_empty() {
                match self.append(&batch) {
                    Ok((count, place)) => {
                        intake.acknowledge(&mut batch, count, self.durable(), place);
                    }
                    Err(LogError::Stopped) => return intake.stop(&mut batch),
                    Err(error) => intake.refuse(&mut batch, error),
                }
            }
        }
        if let Err(error) = self.settle() {
            tracing::warn!(%error, "the next start takes entries of the issuance log from its archive");
        }
    }

    /// Makes as much of a batch durable as its segment takes: how many entries, and at which place of
    /// the archive.
    fn append(&mut self, batch: &[Waiting]) -> Result<(usize, u64), LogError> {
        self.settle()?;
        // What the journal has no segment for is not given to the archive.
        let room = self.writer.begin_segment()?;
        let batch = &batch[..room.min(batch.len())];
        self.writer
            .lay_out(batch.iter().map(|waiting| &waiting.entry[..]));
        let Some(archive) = &mut self.archive else {
            self.writer.write()?;
            return Ok((batch.len(), 0));
        };
        let entries: Vec<&[u8]> = batch.iter().map(|waiting| &waiting.entry[..]).collect();
        let place = archive.keep(self.writer.next(), &entries)?;
        if let Err(error) = self.writer.write() {
            if matches!(error, LogError::Stopped) {
                return Err(error);
            }
            tracing::warn!(%error, "entries of the issuance log are in its archive alone");
            self.tail.owe(&entries);
            self.is_owed = true;
        }
        Ok((batch.len(), place))
    }

    /// Offers the journal again what it owes: nothing else goes before.
    fn settle(&mut self) -> Result<(), LogError> {
        if self.is_owed {
            self.writer.write()?;
            self.is_owed = false;
        }
        Ok(())
    }

    /// First index that is not durable.
    fn durable(&self) -> u64 {
        self.writer.next() + self.tail.owed()
    }
}

impl<S> Drop for Appender<S> {
    /// A thread that panics in what it was given stops the log: nobody waits for it.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.intake.stop(&mut Vec::new());
        }
    }
}
