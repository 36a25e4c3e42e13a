//! Looks at files where a look may never end.
//!
//! The path that a registration names may lie on a mount whose server is gone: then the kernel waits
//! for it, and nothing here can end that. So a look runs in a thread of its own, for which nobody waits
//! longer than [`LOOKUP_DEADLINE`]. A thread that hangs keeps its places until the kernel lets it go:
//! those of its path, so that one dead mount takes few from the others, and one of all.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

/// Nobody waits longer for a look at a file, the wait for a place included. A look takes microseconds;
/// a network file system that is well answers far within it.
pub(crate) const LOOKUP_DEADLINE: Duration = Duration::from_secs(2);
/// Most looks under way at once, and so most threads that can hang.
pub(crate) const MAX_LOOKUPS: usize = 16;
/// Most of them at one path: so many dead paths as go into the bound of all leave none to the others.
pub(crate) const MAX_LOOKUPS_AT_A_PATH: usize = 2;

/// Why nothing is known of a file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoAnswer {
    /// The kernel does not say, or has no place for one more look.
    #[error(
        "a look at {path:?} has not ended within {} s: the file system that holds it does not answer",
        LOOKUP_DEADLINE.as_secs()
    )]
    Late {
        /// Where the look went.
        path: String,
    },
    /// There is no thread for it.
    #[error("no look at {path:?} could be begun: {source}")]
    NotBegun {
        /// Where the look would have gone.
        path: String,
        /// The kernel's word.
        source: io::Error,
    },
}

/// The looks under way.
#[derive(Debug)]
pub(super) struct Lookups {
    all: Arc<Semaphore>,
    /// The paths that somebody looks at, or waits to; the others are dropped with the next look.
    by_path: Mutex<HashMap<String, Weak<Semaphore>>>,
    deadline: Duration,
}

impl Default for Lookups {
    fn default() -> Self {
        Self::within(LOOKUP_DEADLINE)
    }
}

impl Lookups {
    fn within(deadline: Duration) -> Self {
        Self {
            all: Arc::new(Semaphore::new(MAX_LOOKUPS)),
            by_path: Mutex::default(),
            deadline,
        }
    }

    /// What `look` finds, which goes to this path.
    ///
    /// # Errors
    /// It does not come back in time.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        path: &str,
        look: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NoAnswer> {
        let late = || NoAnswer::Late {
            path: path.to_owned(),
        };
        let looking = async {
            // First the place at the path: who waits for a dead one holds nobody up.
            let of_path = self.at(path).acquire_owned().await;
            let of_all = Arc::clone(&self.all).acquire_owned().await;
            let places = (of_path, of_all);
            let (found, answer) = oneshot::channel();
            let begun = thread::Builder::new()
                .name("lookup".to_owned())
                .spawn(move || {
                    let answer = look();
                    drop(places);
                    // Nobody may be waiting any more.
                    let _ = found.send(answer);
                });
            begun.map_err(|source| NoAnswer::NotBegun {
                path: path.to_owned(),
                source,
            })?;
            answer.await.map_err(|_| late())
        };
        match timeout(self.deadline, looking).await {
            Ok(found) => found,
            Err(_) => Err(late()),
        }
    }

    /// The places at one path.
    fn at(&self, path: &str) -> Arc<Semaphore> {
        let mut by_path = self.by_path.lock().unwrap_or_else(PoisonError::into_inner);
        by_path.retain(|_, places| places.strong_count() > 0);
        if let Some(places) = by_path.get(path).and_then(Weak::upgrade) {
            return places;
        }
        let places = Arc::new(Semaphore::new(MAX_LOOKUPS_AT_A_PATH));
        by_path.insert(path.to_owned(), Arc::downgrade(&places));
        places
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::{Sender, channel};

    use futures_util::future::join_all;

    use super::*;
    use crate::local_api::harness::until;

    const SHORT: Duration = Duration::from_millis(100);

    /// Looks that hang until the test lets them go.
    #[derive(Default)]
    struct Hanging {
        begun: Arc<AtomicUsize>,
        holds: Mutex<Vec<Sender<()>>>,
    }

    impl Hanging {
        fn look(&self) -> impl FnOnce() + Send + 'static {
            let (hold, end) = channel::<()>();
            self.holds.lock().unwrap().push(hold);
            let begun = Arc::clone(&self.begun);
            move || {
                begun.fetch_add(1, Ordering::Relaxed);
                let _ = end.recv();
            }
        }

        fn begun(&self) -> usize {
            self.begun.load(Ordering::Relaxed)
        }
    }

    #[tokio::test]
    async fn dead_path_takes_its_places_alone() {
        let (lookups, hanging) = (Lookups::within(SHORT), Hanging::default());
        let dead = (0..5 * MAX_LOOKUPS).map(|_| lookups.run("/dead/program", hanging.look()));
        for answer in join_all(dead).await {
            assert!(matches!(answer, Err(NoAnswer::Late { .. })), "{answer:?}");
        }
        assert_eq!(hanging.begun(), MAX_LOOKUPS_AT_A_PATH);
        assert_eq!(lookups.run("/bin/program", || 7).await.unwrap(), 7);
        // The mount is back.
        hanging.holds.lock().unwrap().clear();
        let is_free = || lookups.all.available_permits() == MAX_LOOKUPS;
        until(is_free).await;
        assert_eq!(lookups.run("/dead/program", || 8).await.unwrap(), 8);
        assert_eq!(lookups.by_path.lock().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn hanging_threads_are_bounded() {
        let (lookups, hanging) = (Lookups::within(SHORT), Hanging::default());
        let paths: Vec<String> = (0..2 * MAX_LOOKUPS).map(|n| format!("/dead/{n}")).collect();
        let dead = paths.iter().map(|path| lookups.run(path, hanging.look()));
        for answer in join_all(dead).await {
            assert!(matches!(answer, Err(NoAnswer::Late { .. })), "{answer:?}");
        }
        assert_eq!(hanging.begun(), MAX_LOOKUPS);
        hanging.holds.lock().unwrap().clear();
    }

    #[tokio::test]
    async fn look_that_panics_is_no_answer() {
        let lookups = Lookups::default();
        let answer = lookups.run("/bin/program", || panic!("on purpose")).await;
        let answer: Result<(), NoAnswer> = answer;
        assert!(matches!(answer, Err(NoAnswer::Late { .. })), "{answer:?}");
        assert_eq!(lookups.all.available_permits(), MAX_LOOKUPS);
    }
}
