//! Wakes the task of a connection for its bodies, unless it runs already.
//!
//! What comes of a body is brought by the task of its connection, which takes it in before its turn
//! ends. A task that is woken in its turn runs again for nothing, and the runtime wakes a worker that
//! sleeps to take part in it: for each message of a stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

/// Nothing is to be done, as far as anybody said.
const IDLE: u8 = 0;
/// The connection runs, and looks before its turn ends.
const RUNNING: u8 = 1;
/// There is something to be done.
const WOKEN: u8 = 2;
/// Looks in one turn: a set of futures that has polled all of them asks for one more.
const MOST_LOOKS: usize = 2;

/// The waker of all bodies of one connection.
#[derive(Debug, Default)]
pub(super) struct IntakeWaker {
    state: AtomicU8,
    connection: AtomicWaker,
}

impl IntakeWaker {
    /// The connection runs from now on: nobody has to wake it before it has [looked](Self::look).
    pub(super) fn begin(&self, cx: &Context<'_>) {
        self.connection.register(cx.waker());
        self.state.swap(RUNNING, Ordering::AcqRel);
    }

    /// The connection does what is to be done, which `poll` asks to be woken for. It is woken again for
    /// what comes afterwards, and for what is left.
    pub(super) fn look(self: &Arc<Self>, mut poll: impl FnMut(&mut Context<'_>) -> Poll<()>) {
        let waker = Waker::from(Arc::clone(self));
        for _ in 0..MOST_LOOKS {
            self.state.swap(RUNNING, Ordering::AcqRel);
            let _ = poll(&mut Context::from_waker(&waker));
            if self
                .state
                .compare_exchange(RUNNING, IDLE, Ordering::AcqRel, Ordering::Acquire)
                .is_ok()
            {
                return;
            }
        }
        self.state.store(IDLE, Ordering::Release);
        self.connection.wake();
    }
}

impl Wake for IntakeWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.swap(WOKEN, Ordering::AcqRel) == IDLE {
            self.connection.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Debug, Default)]
    struct Connection(AtomicUsize);

    impl Wake for Connection {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The waker of a connection that has begun, and what counts how often that is woken.
    fn begun() -> (Arc<IntakeWaker>, Arc<Connection>) {
        let (waker, connection) = (Arc::<IntakeWaker>::default(), Arc::<Connection>::default());
        waker.begin(&Context::from_waker(&Waker::from(Arc::clone(&connection))));
        (waker, connection)
    }

    fn woken(connection: &Connection) -> usize {
        connection.0.load(Ordering::Relaxed)
    }

    #[test]
    fn connection_that_runs_is_not_woken() {
        let (waker, connection) = begun();
        waker.wake_by_ref();
        let mut looks = 0;
        waker.look(|cx| {
            looks += 1;
            if looks == 1 {
                cx.waker().wake_by_ref();
            }
            Poll::Pending
        });
        assert_eq!((looks, woken(&connection)), (2, 0));
    }

    #[test]
    fn connection_that_has_looked_is_woken_once() {
        let (waker, connection) = begun();
        waker.look(|_| Poll::Pending);
        waker.wake_by_ref();
        waker.wake_by_ref();
        assert_eq!(woken(&connection), 1);
    }

    /// However much there is: all other tasks have their turn.
    #[test]
    fn connection_that_is_never_done_is_woken() {
        let (waker, connection) = begun();
        let mut looks = 0;
        waker.look(|cx| {
            looks += 1;
            cx.waker().wake_by_ref();
            Poll::Pending
        });
        assert_eq!((looks, woken(&connection)), (MOST_LOOKS, 1));
    }
}
