//! The owner of the state: the only way to read it, and to change it so that everybody whom the
//! change concerns hears of it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLockReadGuard, RwLockWriteGuard};

use countersign_fleet::{Event, Hub};
use countersign_model::Seq;
use tokio::sync::broadcast;

use super::{Change, State};
use crate::lock::{Locked, Ordered, Place};

/// How many events of the CAs a receiver may be behind before it must read everything again.
const EVENTS: usize = 64;

/// The state, the commit that it is of, and the streams that see it.
#[derive(Debug)]
pub(crate) struct SharedState {
    state: Ordered<State>,
    sequence: Arc<AtomicU64>,
    hub: Arc<Hub>,
    events: broadcast::Sender<Event>,
}

impl SharedState {
    /// The state as of a commit.
    pub(crate) fn new(state: State, sequence: Arc<AtomicU64>) -> Self {
        Self {
            state: Ordered::new(Place::State, state),
            sequence,
            hub: Arc::default(),
            events: broadcast::channel(EVENTS).0,
        }
    }

    pub(crate) fn read(&self) -> Locked<RwLockReadGuard<'_, State>> {
        self.state.read()
    }

    pub(crate) fn write(&self) -> Locked<RwLockWriteGuard<'_, State>> {
        self.state.write()
    }

    /// The newest commit that can be read.
    pub(crate) fn sequence(&self) -> u64 {
        self.sequence.load(Ordering::Acquire)
    }

    /// The open streams.
    pub(crate) fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// Events of the bundle and the CAs from now on.
    pub(crate) fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// Takes what a commit made durable and says so to those whom it concerns. `before` looks at
    /// the state that ends, under the same lock: nothing comes between.
    pub(crate) fn take<T>(
        &self,
        seq: Seq,
        changes: Vec<Change>,
        before: impl FnOnce(&State) -> T,
    ) -> T {
        let (seen, events) = {
            let mut state = self.write();
            (before(&state), state.apply_all(seq, changes))
        };
        self.announce(seq, events);
        seen
    }

    /// Says that the state of this commit can be read now.
    pub(crate) fn announce(&self, seq: Seq, events: impl IntoIterator<Item = Event>) {
        self.sequence.fetch_max(seq.0, Ordering::AcqRel);
        for event in events {
            self.hub.announce(&event);
            if matches!(event, Event::Bundle | Event::Authorities) {
                // Nobody listens before the first listener is up.
                let _ = self.events.send(event);
            }
        }
    }
}
