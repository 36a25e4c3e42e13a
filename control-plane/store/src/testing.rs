//! A store that fails, or waits, when a test says so.

#![allow(
    clippy::unwrap_used,
    reason = "for tests, which end where something is not as it must be"
)]

use std::sync::{Arc, Mutex};

use countersign_model::Seq;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::handing::Then;
use super::writer::Job;
use super::{Kind, Store, StoreError, WRITER_QUEUE};

/// How commits fail from now on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// They do not.
    #[default]
    None,
    /// Those that change something of this kind are refused, and nothing of them is kept.
    Refuse(Kind),
    /// The disk fails before the next one of those is durable: nobody knows.
    StopBefore(Kind),
    /// The disk fails when the next one of those is durable: nobody knows.
    StopAfter(Kind),
}

impl Fault {
    fn meets(self, job: &Job) -> bool {
        let (Self::Refuse(kind) | Self::StopBefore(kind) | Self::StopAfter(kind)) = self else {
            return false;
        };
        writes(job, kind)
    }
}

/// Whether a commit writes something of this kind.
fn writes(job: &Job, kind: Kind) -> bool {
    match job {
        Job::Commit { commit, .. } => commit.writes.iter().any(|write| write.kind == kind),
        Job::Flush { .. } => false,
    }
}

/// Where a test says it.
pub type Faults = Arc<Mutex<Fault>>;

/// The same store, with faults.
pub fn failing(mut store: Store, faults: Faults) -> Store {
    let (jobs, queue) = mpsc::channel(WRITER_QUEUE);
    let sound = std::mem::replace(&mut store.jobs, jobs);
    tokio::spawn(serve(queue, sound, faults));
    store
}

async fn serve(mut queue: mpsc::Receiver<Job>, sound: mpsc::Sender<Job>, faults: Faults) {
    while let Some(job) = queue.recv().await {
        let fault = *faults.lock().unwrap();
        match fault {
            _ if !fault.meets(&job) => sound.send(job).await.unwrap(),
            Fault::None | Fault::Refuse(_) => {
                job.refuse(StoreError::Batch("a test says so".to_owned()));
            }
            Fault::StopBefore(_) => {
                queue.close();
                return job.refuse(StoreError::Stopped);
            }
            Fault::StopAfter(_) => {
                let (job, asked, kept) = intercepted(job).expect("a fault meets commits alone");
                sound.send(job).await.unwrap();
                kept.await.unwrap().unwrap();
                queue.close();
                // A caller that went away no longer wants its answer.
                let _ = asked.send(Err(StoreError::Stopped));
                return;
            }
        }
    }
}

/// Where commits wait that change something of a kind, once it is shut.
#[derive(Debug)]
pub struct Gate {
    is_shut: Mutex<Option<Kind>>,
    arrived: Semaphore,
    opened: Semaphore,
}

impl Gate {
    /// One that lets everything through.
    pub fn open() -> Arc<Self> {
        Arc::new(Self {
            is_shut: Mutex::default(),
            arrived: Semaphore::new(0),
            opened: Semaphore::new(0),
        })
    }

    /// Lets nothing of this kind through any more.
    pub fn shut(&self, kind: Kind) {
        *self.is_shut.lock().unwrap() = Some(kind);
    }

    /// Returns when a commit waits.
    pub async fn arrived(&self) {
        self.arrived.acquire().await.unwrap().forget();
    }

    /// Lets the one that waits, and all that come, pass.
    pub fn reopen(&self) {
        *self.is_shut.lock().unwrap() = None;
        self.opened.add_permits(1);
    }

    fn holds(&self, job: &Job) -> bool {
        let kind = *self.is_shut.lock().unwrap();
        kind.is_some_and(|kind| writes(job, kind))
    }

    async fn wait(&self) {
        self.arrived.add_permits(1);
        self.opened.acquire().await.unwrap().forget();
    }
}

/// The same store, behind a gate.
pub fn gated(mut store: Store, gate: Arc<Gate>) -> Store {
    let (jobs, mut queue) = mpsc::channel(WRITER_QUEUE);
    let sound = std::mem::replace(&mut store.jobs, jobs);
    tokio::spawn(async move {
        while let Some(job) = queue.recv().await {
            if gate.holds(&job) {
                gate.wait().await;
            }
            sound.send(job).await.unwrap();
        }
    });
    store
}

type Answer = Result<Seq, StoreError>;

/// The job with another place for its answer, and the place that it had. It is not told to who made it: nobody
/// knows.
fn intercepted(job: Job) -> Option<(Job, oneshot::Sender<Answer>, oneshot::Receiver<Answer>)> {
    let (instead, kept) = oneshot::channel();
    match job {
        Job::Commit { commit, reply, .. } => {
            let reply_to = Job::Commit {
                commit,
                then: Then::new(|_| ()),
                reply: instead,
            };
            Some((reply_to, reply, kept))
        }
        Job::Flush { .. } => None,
    }
}
