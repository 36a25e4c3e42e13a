//! Publishing: a change wakes the streams that it concerns, found by their node, and no others.
//!
//! A wake-up says what to look at; what is there is read from the authority when the stream gets
//! to it, so that many changes in a row cost one look. A stream that is far behind looks at
//! everything.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use countersign_model::SpiffeId;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{Audience, Event};

/// Events that wait to be looked at one by one; beyond it everything is looked at.
const MAX_TOUCHED: usize = 1_024;

/// What a stream has to look at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// Anything may have changed.
    pub everything: bool,
    /// What happened, where that is known one by one.
    pub events: BTreeSet<Event>,
    /// Where the node should go: another control plane has fewer streams.
    pub elsewhere: Option<String>,
}

/// The open streams, by node. A node has one: a newer one takes over from an older one.
#[derive(Debug, Default)]
pub struct Hub {
    seats: Mutex<HashMap<SpiffeId, Arc<Seat>>>,
}

#[derive(Debug, Default)]
struct Seat {
    news: Mutex<News>,
    wake: Notify,
    superseded: CancellationToken,
    evicted: CancellationToken,
}

/// The place of one open stream; dropping it leaves.
#[derive(Debug)]
pub struct Subscriber {
    hub: Arc<Hub>,
    node: SpiffeId,
    seat: Arc<Seat>,
}

impl Hub {
    /// Takes the seat of a node. An older stream of the same node is told to end.
    pub fn join(self: &Arc<Self>, node: &SpiffeId) -> Subscriber {
        let seat = Arc::new(Seat::default());
        let older = lock(&self.seats).insert(node.clone(), seat.clone());
        if let Some(older) = older {
            older.superseded.cancel();
        }
        Subscriber {
            hub: self.clone(),
            node: node.clone(),
            seat,
        }
    }

    /// Ends the stream of a node and says whether one was open: from now on none is.
    pub fn evict(&self, node: &SpiffeId) -> bool {
        let seat = lock(&self.seats).remove(node);
        seat.inspect(|seat| seat.evicted.cancel()).is_some()
    }

    /// Whether a node has a stream open.
    pub fn is_connected(&self, node: &SpiffeId) -> bool {
        lock(&self.seats).contains_key(node)
    }

    /// The nodes with an open stream.
    pub fn connected(&self) -> Vec<SpiffeId> {
        lock(&self.seats).keys().cloned().collect()
    }

    /// Wishes that a node goes to another control plane.
    pub fn wish(&self, node: &SpiffeId, address: &str) {
        if let Some(seat) = lock(&self.seats).get(node) {
            lock(&seat.news).elsewhere = Some(address.to_owned());
            seat.wake.notify_one();
        }
    }

    /// How many nodes have a stream open.
    pub fn count(&self) -> usize {
        lock(&self.seats).len()
    }

    /// Wakes whom an event concerns.
    pub fn announce(&self, event: &Event) {
        if let Event::Evicted(node) = event {
            self.evict(node);
            return;
        }
        let seats = lock(&self.seats);
        match event.audience() {
            Audience::Node(node) => seats.get(node).into_iter().for_each(|it| it.tell(event)),
            Audience::Everybody => seats.values().for_each(|seat| seat.tell(event)),
            Audience::Nobody => {}
        }
    }
}

impl Seat {
    fn tell(&self, event: &Event) {
        lock(&self.news).take_in(event);
        self.wake.notify_one();
    }
}

impl News {
    /// A stream that is slow to look loses the list, never the news.
    fn take_in(&mut self, event: &Event) {
        self.events.insert(event.clone());
        if self.events.len() > MAX_TOUCHED {
            self.events.clear();
            self.everything = true;
        }
    }
}

impl Subscriber {
    /// Waits until there is something to look at. Cancel safe.
    pub async fn news(&self) -> News {
        loop {
            self.seat.wake.notified().await;
            let news = self.more_news();
            if news != News::default() {
                return news;
            }
        }
    }

    /// What there is to look at by now.
    pub fn more_news(&self) -> News {
        std::mem::take(&mut lock(&self.seat.news))
    }

    /// Waits until the node is evicted.
    pub async fn evicted(&self) {
        self.seat.evicted.cancelled().await;
    }

    /// Waits until a newer stream of the node has taken over.
    pub async fn superseded(&self) {
        self.seat.superseded.cancelled().await;
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let mut seats = lock(&self.hub.seats);
        let mine = seats.get(&self.node);
        if mine.is_some_and(|seat| Arc::ptr_eq(seat, &self.seat)) {
            seats.remove(&self.node);
        }
    }
}

/// A panic while the lock was held leaves whole values behind.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use countersign_model::EntitlementId;
    use futures_util::FutureExt;

    use super::*;

    fn node(name: &str) -> SpiffeId {
        SpiffeId::new(&format!("spiffe://example.org/node/{name}")).unwrap()
    }

    #[tokio::test]
    async fn a_change_wakes_its_own_node_alone() {
        let hub = Arc::new(Hub::default());
        let (a, b) = (hub.join(&node("a")), hub.join(&node("b")));
        hub.announce(&Event::Entitlement(node("a"), EntitlementId::node()));
        let news = a.news().await;
        assert_eq!((news.events.len(), news.everything), (1, false));
        assert!(b.news().now_or_never().is_none());
        hub.announce(&Event::Bundle);
        let bundle = BTreeSet::from([Event::Bundle]);
        assert!(a.news().await.events == bundle && b.news().await.events == bundle);
    }

    #[tokio::test]
    async fn many_changes_cost_one_look() {
        let hub = Arc::new(Hub::default());
        let a = hub.join(&node("a"));
        for _ in 0..3 {
            hub.announce(&Event::Svid(node("a"), EntitlementId::node()));
            hub.announce(&Event::Bundle);
        }
        let news = a.news().await;
        let svid = Event::Svid(node("a"), EntitlementId::node());
        assert_eq!(news.events, [svid, Event::Bundle].into());
        assert!(a.news().now_or_never().is_none());
    }

    #[tokio::test]
    async fn beyond_the_bound_everything_is_looked_at() {
        let hub = Arc::new(Hub::default());
        let a = hub.join(&node("a"));
        let name = |n: usize| EntitlementId::parse(&format!("reg-{n:032x}")).unwrap();
        for n in 0..=MAX_TOUCHED {
            hub.announce(&Event::Entitlement(node("a"), name(n)));
        }
        let news = a.news().await;
        assert_eq!((news.everything, news.events.len()), (true, 0));
    }

    #[tokio::test]
    async fn evicted_stream_gives_its_place_up() {
        let hub = Arc::new(Hub::default());
        let thief = hub.join(&node("a"));
        assert!(thief.evicted().now_or_never().is_none());
        assert!(hub.evict(&node("a")) && !hub.evict(&node("a")));
        thief.evicted().await;
        assert!(!hub.is_connected(&node("a")));
        let owner = hub.join(&node("a"));
        drop(thief);
        assert!(hub.is_connected(&node("a")));
        assert!(owner.evicted().now_or_never().is_none());
    }

    #[tokio::test]
    async fn a_newer_stream_takes_over() {
        let hub = Arc::new(Hub::default());
        let older = hub.join(&node("a"));
        let newer = hub.join(&node("a"));
        older.superseded().await;
        drop(older);
        assert!(hub.is_connected(&node("a")), "the newer one stays");
        assert!(newer.superseded().now_or_never().is_none());
        drop(newer);
        assert!(!hub.is_connected(&node("a")));
    }
}
