//! How one connection hears that its place is gone, and how much it holds.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;

/// Says to one connection that its place is gone.
#[derive(Debug, Default)]
pub(crate) struct Notice {
    is_lost: AtomicBool,
    pub(super) weight: AtomicUsize,
    waker: AtomicWaker,
}

impl Notice {
    /// The place is somebody else's.
    pub(crate) fn tell(&self) {
        self.is_lost.store(true, Ordering::Release);
        self.wake();
    }

    pub(super) fn wake(&self) {
        self.waker.wake();
    }

    pub(super) fn is_lost(&self) -> bool {
        self.is_lost.load(Ordering::Acquire)
    }

    pub(super) fn poll_lost(&self, cx: &Context<'_>) -> Poll<()> {
        self.waker.register(cx.waker());
        match self.is_lost() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    /// Runs until the end, or until the place is lost: then `None`. One task may wait.
    pub(crate) async fn run<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = poll_fn(|cx| self.poll_lost(cx)) => None,
            done = work => Some(done),
        }
    }
}

/// How many bytes one connection makes this process hold, while it has its place.
#[derive(Clone, Debug)]
pub struct Weight(pub(super) Arc<Notice>);

impl Weight {
    pub(crate) fn add(&self, bytes: usize) {
        self.0.weight.fetch_add(bytes, Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.0.weight.load(Ordering::Relaxed)
    }

    pub(crate) fn subtract(&self, bytes: usize) {
        self.0.weight.fetch_sub(bytes, Ordering::Relaxed);
    }
}
