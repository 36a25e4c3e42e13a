//! Places of connections: who has one, and who has to give one up.
//!
//! Every listener counts its connections here, by whom they are for: a source before the
//! handshake, an identity after it, what admits a user on a Unix socket. The module `budget` decides.

mod budget;
mod notice;
mod ranking;

use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use countersign_model::SpiffeId;

pub use budget::{Bounds, Surplus};
pub use notice::Weight;

use crate::counters::Count;
use crate::source::Source;
use budget::Budget;
pub(crate) use notice::Notice;
pub(crate) use ranking::{Ranking, Ticket};

/// Whom a connection is counted for, with all that is asked and held on it. Local users are counted for
/// what admits them: whoever may create user namespaces has thousands of uids, and a share for each
/// would be a bound for none. In order, the closest comes first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Holder {
    /// Where it comes from, or the /56 of one site in IPv6, while nobody has proved who it is.
    Source(Source),
    /// The identity that its peer proved.
    Identity(SpiffeId),
    /// The uid that opened it, by the kernel's word, where that very uid is admitted.
    Uid(u32),
    /// The gid that is admitted, of whatever uid.
    Gid(u32),
    /// The program that is admitted, whoever runs it.
    Program(Arc<str>),
    /// A uid that is admitted to nothing.
    Stranger(u32),
    /// The process that opened it, by a name that no other has.
    Process(Arc<str>),
}

impl Holder {
    /// Strangers from this address.
    pub fn source(address: IpAddr) -> Self {
        Self::Source(Source::of(address))
    }

    /// Callers of whom nothing is known: all of them share.
    pub fn unknown() -> Self {
        Self::source(Ipv6Addr::UNSPECIFIED.into())
    }

    /// What a daemon makes of a local user who is counted so.
    pub fn standing(&self) -> Standing {
        match self {
            Self::Source(_) | Self::Stranger(_) => Standing::Stranger,
            _ => Standing::Recognised,
        }
    }
}

/// What a daemon makes of the peer of a connection: of a TLS peer after its handshake, of a local user
/// by the kernel's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It proved an identity that belongs here, or is a user who may have something.
    Recognised,
    /// It proved none, or is somebody who may do or have nothing here.
    Stranger,
}

/// A bounded number of places.
#[derive(Clone, Debug)]
pub struct Places {
    budget: Arc<Mutex<Budget<Holder, Arc<Notice>>>>,
    occupancy: Arc<Occupancy>,
}

/// How many places there are and are taken, for metrics and readiness.
#[derive(Debug, Default)]
pub struct Occupancy {
    open: AtomicUsize,
    total: AtomicUsize,
    displaced: Count,
}

impl Occupancy {
    pub(crate) fn note_total(&self, total: usize) {
        self.total.store(total, Ordering::Relaxed);
    }

    pub(crate) fn note_open(&self, open: usize) {
        self.open.store(open, Ordering::Relaxed);
    }

    pub(crate) fn note_displaced(&self) {
        self.displaced.increment();
    }

    /// Places taken.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Places that there are; 0 before the listener serves.
    pub fn total(&self) -> usize {
        self.total.load(Ordering::Relaxed)
    }

    /// Connections that lost their place to a later one.
    pub fn displaced(&self) -> u64 {
        self.displaced.value()
    }

    /// Whether the next one displaces another or is refused.
    pub fn is_full(&self) -> bool {
        self.total() > 0 && self.open() >= self.total()
    }
}

impl Places {
    /// Places within these bounds.
    pub fn new(bounds: Bounds) -> Self {
        Self::observed(bounds, Arc::default())
    }

    /// As [`new`](Self::new), with somebody who watches.
    pub fn observed(bounds: Bounds, occupancy: Arc<Occupancy>) -> Self {
        occupancy.note_total(bounds.total.max(1));
        Self {
            budget: Arc::new(Mutex::new(Budget::new(bounds))),
            occupancy,
        }
    }

    /// A place for one more connection of this holder; `None` where it is refused. Whoever loses
    /// a place for it is told at once.
    pub fn take(&self, holder: Holder) -> Option<Place> {
        let notice = Arc::<Notice>::default();
        let mut budget = self.lock();
        let (ticket, displaced) = budget.enter(&holder, Arc::clone(&notice)).ok()?;
        self.note_open(&budget);
        drop(budget);
        if let Some(displaced) = displaced {
            self.occupancy.note_displaced();
            displaced.tell();
        }
        Some(Place {
            places: self.clone(),
            holder,
            ticket,
            notice,
        })
    }

    /// Takes the place of this holder away that weighs most, as for a later one.
    pub(crate) fn displace_heaviest(&self, holder: &Holder) {
        let mut budget = self.lock();
        let weight = |notice: &Arc<Notice>| notice.weight.load(Ordering::Relaxed);
        let displaced = budget.displace_heaviest(holder, weight);
        self.note_open(&budget);
        drop(budget);
        if let Some(displaced) = displaced {
            self.occupancy.note_displaced();
            displaced.tell();
        }
    }

    fn note_open(&self, budget: &Budget<Holder, Arc<Notice>>) {
        self.occupancy.note_open(budget.open());
    }

    fn lock(&self) -> MutexGuard<'_, Budget<Holder, Arc<Notice>>> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one connection, given back when it is dropped.
#[derive(Debug)]
#[must_use = "dropping it gives the place back"]
pub struct Place {
    places: Places,
    holder: Holder,
    ticket: Ticket,
    notice: Arc<Notice>,
}

impl Place {
    /// Ready once the place is somebody else's: the connection has to end. One task may wait.
    pub fn poll_lost(&self, cx: &Context<'_>) -> Poll<()> {
        self.notice.poll_lost(cx)
    }

    /// What its connection holds.
    pub(crate) fn weight(&self) -> Weight {
        Weight(Arc::clone(&self.notice))
    }

    /// Whether the place is somebody else's already.
    pub(crate) fn is_lost(&self) -> bool {
        self.notice.is_lost()
    }

    /// Has whoever waits for the loss look again.
    pub(crate) fn wake(&self) {
        self.notice.wake();
    }

    /// Runs until the end, or until the place is lost: then `None`.
    pub async fn run<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        self.notice.run(work).await
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut budget = self.places.lock();
        budget.leave(&self.holder, self.ticket);
        self.places.note_open(&budget);
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    fn places(total: usize) -> Places {
        Places::new(Bounds {
            total,
            each: total,
            surplus: Surplus::OldestGoes,
        })
    }

    #[tokio::test]
    async fn displaced_work_ends_at_once() {
        let places = places(2);
        let (oldest, next) = (places.take(Holder::Uid(1)), places.take(Holder::Uid(1)));
        let (oldest, next) = (oldest.unwrap(), next.unwrap());
        let waiting = tokio::spawn(async move { oldest.run(pending::<()>()).await });
        tokio::task::yield_now().await;
        let newest = places.take(Holder::Uid(2)).unwrap();
        let ended = timeout(Duration::from_secs(20), waiting).await.unwrap();
        assert_eq!(ended.unwrap(), None);
        assert_eq!(next.run(std::future::ready(1)).await, Some(1));
        assert_eq!(
            (places.occupancy.open(), places.occupancy.displaced()),
            (2, 1)
        );
        drop((next, newest));
        assert_eq!(places.occupancy.open(), 0);
    }

    #[test]
    fn places_given_back_are_free() {
        let places = places(2);
        let held = places.take(Holder::Uid(1)).unwrap();
        for _ in 0..100 {
            drop(places.take(Holder::Uid(2)).unwrap());
        }
        assert_eq!(places.occupancy.displaced(), 0);
        drop(held);
        assert!(!places.occupancy.is_full());
    }
}
