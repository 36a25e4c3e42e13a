//! Who waits for something that this node holds, and is woken when that changes, and by nothing else.
//!
//! A stream tells once what it follows: an Envoy with a thousand secrets has a thousand streams, and the
//! renewal of one certificate concerns one of them. To publish costs a comparison for each stream; to
//! be woken costs a task and a look at names.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use countersign_model::EntitlementId;

use super::Holdings;
use super::changes::Changes;

/// Most names that one stream follows one by one: they are compared with every change. One that asks for
/// more is woken by whatever changes.
pub(crate) const MAX_FOLLOWED_NAMES: usize = 64;

/// What somebody follows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Interest {
    /// Whatever changes.
    #[default]
    Everything,
    /// These.
    Only(Followed),
}

/// Parts of what is held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Followed {
    /// The trust bundle.
    pub(crate) bundle: bool,
    /// Which entitlements there are, and what they say.
    pub(crate) rights: bool,
    /// The rights and credentials of these entitlements.
    pub(crate) entitlements: Arc<[EntitlementId]>,
    /// Every right to these identities, and its credential; no more than [`MAX_FOLLOWED_NAMES`].
    pub(crate) names: Box<[Arc<str>]>,
}

impl Interest {
    fn includes(&self, changes: &Changes) -> bool {
        let followed = match self {
            Self::Only(followed) if !changes.knowledge => followed,
            _ => return true,
        };
        let mut entitlements = followed.entitlements.iter();
        followed.bundle && changes.bundle
            || followed.rights && changes.rights
            || followed.names.iter().any(|name| changes.concern_name(name))
            || entitlements.any(|id| changes.concern(id))
    }
}

/// Everybody who follows something.
#[derive(Debug, Default)]
pub(super) struct Followers {
    table: Mutex<Table>,
    /// So many were woken in the life of this process.
    woken: AtomicU64,
}

#[derive(Debug, Default)]
struct Table {
    /// The newest generation that followers were told of.
    generation: u64,
    next: u64,
    followers: BTreeMap<u64, Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    interest: Interest,
    /// Something of it changed since its follower looked last.
    is_due: bool,
    waker: Option<Waker>,
}

impl Followers {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes those who follow something that changed with this generation.
    pub(super) fn wake(&self, changes: &Changes, generation: u64) {
        let mut wakers = Vec::new();
        {
            let mut table = self.lock();
            table.generation = table.generation.max(generation);
            if changes.is_empty() {
                return;
            }
            let sleeping = table.followers.values_mut().filter(|it| !it.is_due);
            for waiting in sleeping.filter(|it| it.interest.includes(changes)) {
                waiting.is_due = true;
                self.woken.fetch_add(1, Ordering::Relaxed);
                wakers.extend(waiting.waker.take());
            }
        }
        // Whoever wakes takes the lock.
        wakers.into_iter().for_each(Waker::wake);
    }

    /// How many were woken in the life of this process.
    pub(super) fn woken(&self) -> u64 {
        self.woken.load(Ordering::Relaxed)
    }
}

/// Somebody who follows something, until dropped.
#[derive(Debug)]
pub(crate) struct Follower {
    holdings: Arc<Holdings>,
    key: u64,
}

impl Follower {
    /// Follows everything, from the next generation on.
    pub(super) fn new(holdings: Arc<Holdings>) -> Self {
        let mut table = holdings.followers.lock();
        let key = table.next;
        table.next += 1;
        table.followers.insert(key, Waiting::default());
        drop(table);
        Self { holdings, key }
    }

    /// Follows this from now on. What was published after the generation that it was made of may be a
    /// part of it, and counts.
    pub(crate) fn follow(&self, interest: Interest, generation: u64) {
        let mut table = self.holdings.followers.lock();
        let has_missed = table.generation > generation;
        let Some(waiting) = table.followers.get_mut(&self.key) else {
            return;
        };
        if waiting.interest != interest {
            waiting.interest = interest;
            waiting.is_due |= has_missed;
        }
    }

    /// Whether something of it changed since this was asked last.
    pub(crate) fn take_due(&self) -> bool {
        let mut table = self.holdings.followers.lock();
        let waiting = table.followers.get_mut(&self.key);
        waiting.is_some_and(|waiting| std::mem::take(&mut waiting.is_due))
    }

    /// Waits until something of it changed, and leaves it to [`take_due`](Self::take_due) to say so.
    pub(crate) async fn due(&self) {
        poll_fn(|cx| self.poll_due(cx)).await;
    }

    fn poll_due(&self, cx: &Context<'_>) -> Poll<()> {
        let mut table = self.holdings.followers.lock();
        match table.followers.get_mut(&self.key) {
            Some(waiting) if !waiting.is_due => {
                waiting.waker = Some(cx.waker().clone());
                Poll::Pending
            }
            _ => Poll::Ready(()),
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.holdings.followers.lock().followers.remove(&self.key);
    }
}

#[cfg(test)]
impl Followers {
    /// How many wait for a part of what is held, and for nothing that has changed already.
    pub(super) fn asleep(&self) -> usize {
        let table = self.lock();
        let is_asleep = |it: &&Waiting| {
            it.waker.is_some() && !it.is_due && matches!(it.interest, Interest::Only(_))
        };
        table.followers.values().filter(is_asleep).count()
    }
}

#[cfg(test)]
mod tests;
