//! A store that fails when a test says so.

use std::sync::{Arc, Mutex};

use tokio::sync::{mpsc, oneshot};

use super::writer::Job;
use super::{Kind, Seq, Store, StoreError, WRITER_QUEUE};

/// How commits fail from now on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Fault {
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
        match job {
            Job::Commit { changes, .. } => changes.iter().any(|change| change.kind == kind),
            Job::Flush { .. } => false,
        }
    }
}

/// Where a test says it.
pub(crate) type Faults = Arc<Mutex<Fault>>;

/// The same store, with faults.
pub(crate) fn failing(store: Store, faults: Faults) -> Store {
    let Store {
        jobs: sound,
        reader,
    } = store;
    let (jobs, queue) = mpsc::channel(WRITER_QUEUE);
    tokio::spawn(serve(queue, sound, faults));
    Store { jobs, reader }
}

async fn serve(mut queue: mpsc::Receiver<Job>, sound: mpsc::Sender<Job>, faults: Faults) {
    while let Some(job) = queue.recv().await {
        let fault = *faults.lock().unwrap();
        match fault {
            _ if !fault.meets(&job) => sound.send(job).await.unwrap(),
            Fault::None | Fault::Refuse(_) => {
                answer(job, StoreError::Batch("a test says so".to_owned()));
            }
            Fault::StopBefore(_) => {
                queue.close();
                return answer(job, StoreError::Stopped);
            }
            Fault::StopAfter(_) => {
                let (job, asked, kept) = intercepted(job);
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

type Answer = Result<Seq, StoreError>;

/// The job with another place for its answer, and the place that it had.
fn intercepted(mut job: Job) -> (Job, oneshot::Sender<Answer>, oneshot::Receiver<Answer>) {
    let (instead, kept) = oneshot::channel();
    let (Job::Commit { reply, .. } | Job::Flush { reply }) = &mut job;
    let asked = std::mem::replace(reply, instead);
    (job, asked, kept)
}

fn answer(job: Job, error: StoreError) {
    let (Job::Commit { reply, .. } | Job::Flush { reply }) = job;
    // A caller that went away no longer wants its answer.
    let _ = reply.send(Err(error));
}
