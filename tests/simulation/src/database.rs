//! The database that the control planes of a run share, and the way of each to it. The database is in memory
//! and keeps what it took; what happens on the way there and back the seed draws.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use countersign_control_plane::app::SharedDatabase;
use countersign_store::memory::{Asked, MemoryDatabase, Way};
use fastrand::Rng;
use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// How long the client of a control plane waits for an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// What a question takes there, and an answer back, at least; and how much longer at most.
const SOON: (Duration, Duration) = (Duration::from_micros(200), Duration::from_millis(2));

/// The database of one run.
#[derive(Debug)]
pub(crate) struct Database {
    pub(crate) memory: MemoryDatabase,
    random: Rng,
}

impl Database {
    pub(crate) fn new(random: Rng) -> Self {
        Self {
            memory: MemoryDatabase::default(),
            random,
        }
    }

    /// The way of a process that starts.
    pub(crate) fn link(&mut self) -> Link {
        Link(Arc::new(Shared {
            state: watch::Sender::new(State::default()),
            random: Mutex::new(self.random.fork()),
        }))
    }

    /// The database, as that process reaches it.
    pub(crate) fn reached(&self, by: &Link) -> Arc<dyn SharedDatabase> {
        Arc::new(self.memory.reached(Arc::new(by.clone())))
    }
}

/// Whether anything arrives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Reach {
    /// It does.
    #[default]
    Open,
    /// It is refused at once.
    Refused,
    /// There is no answer.
    Silent,
    /// The process is no more: nothing of it arrives ever.
    Ended,
}

/// How it is on the way.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct State {
    pub(crate) reach: Reach,
    /// How much longer everything takes, at most.
    pub(crate) slow: Duration,
    /// The share of batches whose answer is lost.
    pub(crate) lost: f64,
    /// Whether no notice arrives.
    pub(crate) is_unnoticed: bool,
}

impl State {
    /// Whether anything is lost or late. A notice says only that there is something to read: without
    /// one it is asked for now and then.
    pub(crate) fn is_impeding(&self) -> bool {
        *self
            != Self {
                is_unnoticed: self.is_unnoticed,
                ..Self::default()
            }
    }
}

/// The way of one process to the database.
#[derive(Clone, Debug)]
pub(crate) struct Link(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: watch::Sender<State>,
    random: Mutex<Rng>,
}

impl Link {
    /// From now on it is so, unless the process has ended.
    pub(crate) fn becomes(&self, state: State) {
        self.0.state.send_if_modified(|present| {
            let lives = present.reach != Reach::Ended;
            if lives {
                *present = state;
            }
            lives
        });
    }

    /// Nothing of the process arrives any more.
    pub(crate) fn end(&self) {
        self.becomes(State {
            reach: Reach::Ended,
            ..State::default()
        });
    }

    fn random(&self) -> MutexGuard<'_, Rng> {
        self.0.random.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> State {
        *self.0.state.borrow()
    }

    /// Takes the way once. Entries of a log are waited for by a thread, while no time passes: they are
    /// there at once, or never.
    async fn passed(&self, asked: Asked) -> Result<(), String> {
        if asked != Asked::Entries {
            let (least, more) = SOON;
            let more = more + self.state().slow;
            let takes = least + more.mul_f64(self.random().f64());
            sleep(takes).await;
        }
        let mut states = self.0.state.subscribe();
        let open = async {
            loop {
                match states.borrow_and_update().reach {
                    Reach::Open => return Ok(()),
                    Reach::Refused => return Err("connection refused".to_owned()),
                    Reach::Ended => return Err("the process ended".to_owned()),
                    Reach::Silent if asked == Asked::Entries => return Err(silent()),
                    Reach::Silent => {}
                }
                // It changes as long as somebody has it.
                let _ = states.changed().await;
            }
        };
        timeout(ANSWER_WITHIN, open)
            .await
            .unwrap_or_else(|_| Err(silent()))
    }

    /// Whether it happens now.
    fn draws(&self, share: f64) -> bool {
        share > 0.0 && self.random().f64() < share
    }
}

impl Way for Link {
    fn there(&self, asked: Asked) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(self.passed(asked))
    }

    fn back(&self, asked: Asked) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            self.passed(asked).await?;
            let is_lost = asked == Asked::Batch && self.draws(self.state().lost);
            match is_lost {
                true => Err("connection reset".to_owned()),
                false => Ok(()),
            }
        })
    }

    fn commits(&self) -> bool {
        !self.draws(self.state().lost)
    }

    fn notice(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            let is_lost = |state: &State| state.is_unnoticed || state.reach != Reach::Open;
            let mut states = self.0.state.subscribe();
            // One that is lost stays lost.
            if is_lost(&states.borrow_and_update()) {
                std::future::pending::<()>().await;
            }
            let (least, more) = SOON;
            let takes = least + more.mul_f64(self.random().f64());
            sleep(takes).await;
        })
    }
}

fn silent() -> String {
    format!(
        "the database did not answer within {} s",
        ANSWER_WITHIN.as_secs()
    )
}
