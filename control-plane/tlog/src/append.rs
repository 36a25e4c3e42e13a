//! Where appends wait: indexes are given out here, and the writer takes everything that waits as
//! one batch.
//!
//! A batch is let go by its first entry, which lets whoever is ready to append as well do so before,
//! for as long as somebody does: a batch costs one fsync, however many share it.
//!
//! An index is taken only once its entry is made, so indexes have no holes. What waits is bounded
//! by [`MAX_WAITING`] places, given back when the writer has answered, even where the caller went.

use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};
use tokio::task::yield_now;

use crate::{AppendError, LogError, MAX_ENTRY_BYTES};

/// Most entries that wait for the disk; also the most of one batch.
pub(crate) const MAX_WAITING: usize = 1024;
/// A batch as large as this waits for nobody: a full call of keys, and others beside it.
const LARGE_BATCH: u64 = 128;
/// How often the first of a batch lets others go before, at most.
const MAX_ROUNDS: usize = 8;

/// Where an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Its index in the log.
    pub index: u64,
    /// Its place in the order of the archive, which it shares with the entries of its batch; 0 where
    /// the log has no archive.
    pub place: u64,
}

/// Whether an entry is durable, and its place in the archive.
type Outcome = Result<u64, LogError>;

/// An entry on its way to the disk, and who wants to know.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) entry: Vec<u8>,
    done: oneshot::Sender<Outcome>,
}

/// The entries that wait, and how many are durable.
#[derive(Debug)]
pub(crate) struct Intake {
    places: Semaphore,
    queue: Mutex<Queue>,
    arrived: Condvar,
    durable: AtomicU64,
}

#[derive(Debug)]
struct Queue {
    next: u64,
    waiting: Vec<Waiting>,
    /// The writer may take what waits.
    let_go: bool,
    writer_sleeps: bool,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Closing,
    Stopped,
}

/// Index of an entry that waits, its outcome, and what its caller owes to a batch that it began.
type Pushed<'a> = (u64, oneshot::Receiver<Outcome>, Option<First<'a>>);

/// Lets the batch go when it is dropped, also where its caller goes away.
struct First<'a> {
    intake: &'a Intake,
    index: u64,
}

impl First<'_> {
    /// Whoever is ready to append as well joins this batch instead of waiting for the next.
    async fn let_others_join(&self) {
        let mut before = 1;
        for _ in 0..MAX_ROUNDS {
            yield_now().await;
            let joined = self.batch();
            if joined == before || joined >= LARGE_BATCH {
                return;
            }
            before = joined;
        }
    }

    /// How many entries its batch has by now; none where that was refused meanwhile.
    fn batch(&self) -> u64 {
        self.intake.lock().next.saturating_sub(self.index)
    }
}

impl Drop for First<'_> {
    fn drop(&mut self) {
        let mut queue = self.intake.lock();
        // Its batch may have been refused meanwhile: the next one has a first entry of its own.
        if queue.first_waiting() != Some(self.index) {
            return;
        }
        queue.let_go = true;
        let sleeps = mem::take(&mut queue.writer_sleeps);
        drop(queue);
        if sleeps {
            self.intake.arrived.notify_one();
        }
    }
}

impl Queue {
    /// Index of the entry that has waited longest.
    fn first_waiting(&self) -> Option<u64> {
        let waiting = self.waiting.len() as u64;
        (waiting > 0).then(|| self.next - waiting)
    }
}

impl Intake {
    pub(crate) fn new(durable: u64) -> Self {
        Self {
            places: Semaphore::new(MAX_WAITING),
            queue: Mutex::new(Queue {
                next: durable,
                waiting: Vec::new(),
                let_go: false,
                writer_sleeps: false,
                state: State::Open,
            }),
            arrived: Condvar::new(),
            durable: durable.into(),
        }
    }

    /// How many entries are durable.
    pub(crate) fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    /// Has an entry made for the next index and waits until it is durable.
    pub(crate) async fn append<E>(
        &self,
        make: impl FnOnce(u64) -> Result<Vec<u8>, E>,
    ) -> Result<Appended, AppendError<E>> {
        let place = self.places.acquire().await.expect("never closed");
        let (index, done, first) = self.push(make)?;
        // The writer gives the place back, together with those of its whole batch.
        place.forget();
        if let Some(first) = first {
            first.let_others_join().await;
            drop(first);
        }
        let outcome = done.await.unwrap_or(Err(LogError::Stopped));
        let appended = outcome.map(|place| Appended { index, place });
        appended.map_err(AppendError::Log)
    }

    fn push<E>(
        &self,
        make: impl FnOnce(u64) -> Result<Vec<u8>, E>,
    ) -> Result<Pushed<'_>, AppendError<E>> {
        let (sender, receiver) = oneshot::channel();
        let mut queue = self.lock();
        if queue.state != State::Open {
            return Err(AppendError::Log(LogError::Stopped));
        }
        let index = queue.next;
        let entry = make(index).map_err(AppendError::Made)?;
        if entry.len() > MAX_ENTRY_BYTES {
            return Err(AppendError::Log(LogError::TooLong));
        }
        queue.waiting.push(Waiting {
            entry,
            done: sender,
        });
        queue.next += 1;
        let is_first = queue.first_waiting() == Some(index);
        drop(queue);
        let intake = self;
        Ok((index, receiver, is_first.then(|| First { intake, index })))
    }

    /// Waits for entries and swaps them into `batch`, which is empty. False once the log closes
    /// and nothing is left, or it stopped. With a `limit`, true and an empty batch once it is over.
    pub(crate) fn take(&self, batch: &mut Vec<Waiting>, limit: Option<Duration>) -> bool {
        let mut queue = self.lock();
        loop {
            let closing = queue.state != State::Open;
            if !queue.waiting.is_empty() && (queue.let_go || closing) {
                mem::swap(&mut queue.waiting, batch);
                queue.let_go = false;
                return true;
            }
            if closing {
                return false;
            }
            queue.writer_sleeps = true;
            let Some(limit) = limit else {
                let woken = self.arrived.wait(queue);
                queue = woken.unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let woken = self.arrived.wait_timeout(queue, limit);
            let (held, waited) = woken.unwrap_or_else(PoisonError::into_inner);
            queue = held;
            if waited.timed_out() && queue.waiting.is_empty() {
                return true;
            }
        }
    }

    /// The first `count` entries of the batch are durable: everything below `durable` is. `place` is
    /// theirs in the archive.
    pub(crate) fn acknowledge(
        &self,
        batch: &mut Vec<Waiting>,
        count: usize,
        durable: u64,
        place: u64,
    ) {
        self.durable.store(durable, Ordering::Release);
        self.answer(batch.drain(..count), &Ok(place));
    }

    /// Nothing of the batch was kept, so nothing that has a higher index may be.
    pub(crate) fn refuse(&self, batch: &mut Vec<Waiting>, error: LogError) {
        let mut queue = self.lock();
        queue.next = self.durable();
        batch.append(&mut queue.waiting);
        drop(queue);
        self.answer(batch.drain(..), &Err(error));
    }

    /// Ends the log for good.
    pub(crate) fn stop(&self, batch: &mut Vec<Waiting>) {
        let mut queue = self.lock();
        queue.state = State::Stopped;
        batch.append(&mut queue.waiting);
        drop(queue);
        self.arrived.notify_one();
        self.answer(batch.drain(..), &Err(LogError::Stopped));
    }

    /// Takes nothing more; what waits is still written.
    pub(crate) fn close(&self) {
        let mut queue = self.lock();
        if queue.state == State::Open {
            queue.state = State::Closing;
        }
        drop(queue);
        self.arrived.notify_one();
    }

    /// Whether an fsync failed.
    pub(crate) fn stopped(&self) -> bool {
        self.lock().state == State::Stopped
    }

    fn answer(&self, batch: impl ExactSizeIterator<Item = Waiting>, outcome: &Outcome) {
        let count = batch.len();
        for waiting in batch {
            // A caller that went away does not want to know.
            let _ = waiting.done.send(outcome.clone());
        }
        self.places.add_permits(count);
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // An entry that panics while it is made has changed nothing yet.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
