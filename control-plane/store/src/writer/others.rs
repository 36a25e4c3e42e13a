//! What others of the database committed, read and handed over.
//!
//! It is read in the session that writes: so an own commit and those before it are of one server, also where
//! another one took over. A read that fails is made again. What is not kept any more is never read: the next
//! start reads everything.

use std::future::pending;
use std::sync::atomic::Ordering;
use std::time::Duration;

use countersign_model::Seq;
use countersign_telemetry::{Principal, peer_line};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::settling::refuse_meanwhile;
use super::{Job, NotMade, Writer};
use crate::StoreError;
use crate::database::{Database, Places, Unread};

/// How long after a read that failed the next one is made.
const READ_AGAIN: Duration = Duration::from_secs(1);
/// What is told of jobs that come while what others committed before an own commit cannot be read.
const UNREAD: &str = "what others committed before cannot be read";

/// Why nothing was handed over.
enum NotHanded {
    /// A later read may.
    Yet(StoreError),
    /// No later read will.
    Ever(String),
}

/// Returns when others committed what is not handed over, and it may be read. `after` names the newest that is,
/// where somebody takes them.
pub(super) async fn told_of_others(
    newest: &mut Option<watch::Receiver<Seq>>,
    after: Option<Seq>,
    read_again: Option<Instant>,
) {
    if let Some(at) = read_again {
        sleep_until(at).await;
    }
    let told = async {
        let (newest, after) = (newest.as_mut()?, after?);
        newest.wait_for(|it| *it > after).await.ok().map(drop)
    };
    if told.await.is_none() {
        pending::<()>().await;
    }
}

impl<D: Database> Writer<D> {
    /// Hands over a page of what others committed; `false` where the writer stops.
    pub(super) async fn hand_others(&mut self, queue: &mut mpsc::Receiver<Job>) -> bool {
        let told = self.told();
        match self.hand_page(None, told).await {
            Ok(_) => true,
            Err(NotHanded::Yet(error)) => {
                self.note_behind(&error);
                true
            }
            Err(NotHanded::Ever(reason)) => {
                self.stop(&reason);
                queue.close();
                false
            }
        }
    }

    /// Hands over all that others committed before a batch. A batch of which nothing was made had commits of
    /// others before it, as far as a precondition did not hold: who made it finds them handed over when it
    /// is answered.
    pub(super) async fn catch_up(
        &mut self,
        places: &Places,
        queue: &mut mpsc::Receiver<Job>,
    ) -> Result<(), NotMade> {
        let caught_up = match places.iter().flatten().min() {
            Some(first) => self.catch_up_to(*first, queue).await,
            None => self.catch_up_once().await,
        };
        caught_up.map_err(|reason| self.stop(&reason))
    }

    async fn catch_up_to(
        &mut self,
        first: Seq,
        queue: &mut mpsc::Receiver<Job>,
    ) -> Result<(), String> {
        let begun = Instant::now();
        let last = Seq(first.0.saturating_sub(1));
        while self.handing.is_behind(last) {
            match self.hand_page(Some(first), last).await {
                Ok(_) => {}
                Err(NotHanded::Ever(reason)) => return Err(reason),
                Err(NotHanded::Yet(error)) => {
                    self.note_behind(&error);
                    let is_late = begun.elapsed() >= self.settle_within;
                    if is_late || !refuse_meanwhile(queue, UNREAD).await {
                        return Err(format!("{UNREAD}: {error}"));
                    }
                }
            }
        }
        Ok(())
    }

    /// As far as it is read at once: nothing depends on it.
    async fn catch_up_once(&mut self) -> Result<(), String> {
        let may_read = self.read_again.is_none_or(|at| at <= Instant::now());
        let mut is_whole = !may_read || !self.handing.is_behind(Seq(u64::MAX));
        while !is_whole {
            match self.hand_page(None, Seq(0)).await {
                Ok(whole) => is_whole = whole,
                Err(NotHanded::Ever(reason)) => return Err(reason),
                Err(NotHanded::Yet(error)) => {
                    self.note_behind(&error);
                    is_whole = true;
                }
            }
        }
        Ok(())
    }

    /// The newest commit that was told of.
    fn told(&self) -> Seq {
        self.newest.as_ref().map_or(Seq(0), |it| *it.borrow())
    }

    /// Hands over a page of what others committed, before a commit where one is named. The database that
    /// answers has to have a commit that is known. Returns whether nothing is left.
    async fn hand_page(&mut self, before: Option<Seq>, known: Seq) -> Result<bool, NotHanded> {
        let after = self.handing.seq();
        let page = match self.database.changes(after, before).await {
            Ok(Some(page)) => page,
            Ok(None) => return Err(NotHanded::Ever(not_kept(after))),
            Err(Unread::Older(error)) => {
                self.condition.is_older.store(true, Ordering::Release);
                return Err(NotHanded::Ever(error.to_string()));
            }
            // Another read finds the same.
            Err(Unread::Yet(error @ StoreError::Damaged { .. })) => {
                return Err(NotHanded::Ever(error.to_string()));
            }
            Err(Unread::Yet(error)) => return Err(NotHanded::Yet(error)),
        };
        let known = known.max(after);
        if page.newest < known {
            return Err(NotHanded::Yet(older(page.newest, known)));
        }
        let given = self.handing.give(page.commits);
        given.map_err(|error| NotHanded::Ever(error.to_string()))?;
        if page.is_whole {
            // Some commits did nothing.
            self.handing.reach(before.map_or(page.newest, |_| known));
        }
        self.note_read();
        Ok(page.is_whole)
    }

    fn note_read(&mut self) {
        self.read_again = None;
        if self.condition.behind.taken() {
            let store = Principal::part("store");
            peer_line!(INFO, store, "what others committed is read again");
        }
    }

    fn note_behind(&mut self, error: &StoreError) {
        self.read_again = Some(Instant::now() + READ_AGAIN);
        if self.condition.behind.refused(error.to_string()) {
            let store = Principal::part("store");
            peer_line!(WARN, store, %error, "what others committed cannot be read");
        } else {
            tracing::debug!(%error, "what others committed cannot be read yet");
        }
    }
}

fn not_kept(after: Seq) -> String {
    format!(
        "what was committed after commit {} is not kept any more, so this control plane is too far behind \
         and has to read everything",
        after.0
    )
}

fn older(newest: Seq, known: Seq) -> StoreError {
    StoreError::Batch(format!(
        "the database that answers has commit {} as its newest, and {} was made",
        newest.0, known.0
    ))
}
