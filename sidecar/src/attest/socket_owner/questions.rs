//! How many questions to the kernel there are at once, and how long a connection waits for its
//! answer.
//!
//! The kernel works while a question is sent, for microseconds as a rule. Another process that
//! lists all sockets can make it wait for a lock, and nothing takes back a question that has begun:
//! no time limit ends it, nor does the end of the connection that it is about. So what is bounded
//! is their number, and with it the threads and descriptors that they take. A connection that waits
//! for its turn takes neither, and leaves the queue when it ends: a flood of connections that are
//! put out leaves no question behind for the others to wait for.

use std::io;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::diagnostics::DiagnosticsError;

/// Questions under way at once. The kernel answers one after the other; a few more threads keep
/// it busy.
pub(super) const MAX_QUESTIONS: usize = 8;
/// How long a connection waits for its turn and its answer. A full listener of 1,024 connections
/// has them in well below a second.
pub(crate) const ANSWER_DEADLINE: Duration = Duration::from_secs(5);

/// The turns to ask.
#[derive(Debug)]
pub(super) struct Questions {
    turns: Semaphore,
    deadline: Duration,
}

impl Questions {
    /// So many at once, each waited for so long.
    pub(super) const fn new(most: usize, deadline: Duration) -> Self {
        let turns = Semaphore::const_new(most);
        Self { turns, deadline }
    }

    /// Asks when it is its turn, in a thread off the runtime. Where it is dropped before it begins,
    /// it is never asked.
    pub(super) async fn ask<T: Send + 'static>(
        &'static self,
        question: impl FnOnce() -> Result<T, DiagnosticsError> + Send + 'static,
    ) -> Result<T, DiagnosticsError> {
        let asking = async {
            let turn = self.turns.acquire().await.expect("nobody closes it");
            let answer = spawn_blocking(move || {
                let answer = question();
                drop(turn);
                answer
            });
            AbortOnDropHandle::new(answer).await
        };
        let answer = timeout(self.deadline, asking).await;
        let answer = answer.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?;
        answer.map_err(io::Error::other)?
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use futures_util::FutureExt as _;

    use super::*;

    /// More than a thread pool has.
    const FLOOD: usize = 600;
    const BOUND: Duration = Duration::from_secs(20);

    fn questions(most: usize, deadline: Duration) -> &'static Questions {
        Box::leak(Box::new(Questions::new(most, deadline)))
    }

    /// Every turn is taken, or none.
    async fn until_free(questions: &Questions, is_free: bool) {
        let waiting = async {
            while (questions.turns.available_permits() > 0) != is_free {
                tokio::task::yield_now().await;
            }
        };
        timeout(BOUND, waiting).await.unwrap();
    }

    /// A kernel that is slow to answer: every question waits until this is dropped.
    fn slow() -> (
        mpsc::Sender<()>,
        impl FnOnce() -> Result<(), DiagnosticsError>,
    ) {
        let (kernel, answer) = mpsc::channel::<()>();
        let question = move || {
            let _ = answer.recv();
            Ok(())
        };
        (kernel, question)
    }

    #[tokio::test]
    async fn questions_of_ended_connections_are_not_asked() {
        let questions = questions(2, BOUND);
        let (kernels, stuck): (Vec<_>, Vec<_>) = (0..2)
            .map(|_| {
                let (kernel, question) = slow();
                (kernel, tokio::spawn(questions.ask(question)))
            })
            .unzip();
        until_free(questions, false).await;
        let asked = Arc::new(AtomicUsize::new(0));
        let count = || {
            let asked = Arc::clone(&asked);
            move || Ok(asked.fetch_add(1, Ordering::Relaxed))
        };
        for _ in 0..FLOOD {
            // It waits, and its connection is put out.
            assert!(questions.ask(count()).now_or_never().is_none());
        }
        let honest = questions.ask(count());
        drop(kernels);
        assert_eq!(honest.await.unwrap(), 0, "nobody was before it");
        for stuck in stuck {
            stuck.await.unwrap().unwrap();
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_kernel_that_hangs_holds_its_turns_alone() {
        let questions = questions(1, Duration::from_millis(20));
        let (kernel, question) = slow();
        let late = questions.ask(question).await.unwrap_err();
        assert!(late.to_string().contains("timed out"), "{late}");
        // The thread is at work, and nobody else begins.
        assert_eq!(questions.turns.available_permits(), 0);
        questions.ask(|| Ok(())).await.unwrap_err();
        drop(kernel);
        until_free(questions, true).await;
        // A crowded machine may be late for so short a deadline.
        let answered = async {
            loop {
                if let Ok(answer) = questions.ask(|| Ok(7)).await {
                    return answer;
                }
            }
        };
        assert_eq!(timeout(BOUND, answered).await.unwrap(), 7);
    }
}
