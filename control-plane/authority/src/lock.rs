//! The locks of the authority and their order.
//!
//! A thread that holds one of them takes only those that come after it:
//!
//! 1. the one backup at a time ([`backing_up`](crate::backing_up))
//! 2. the one seal of another log at a time (`sealing`)
//! 3. the one logged change at a time (`writing`)
//! 4. a stripe of the issuances ([`issuing`](crate::issuing))
//! 5. the one `voided` entry at a time ([`ledger`](crate::ledger))
//! 6. the CAs and what belongs to them ([`Place::Cas`])
//! 7. the state ([`Place::State`])
//! 8. the books of the ledger ([`Place::Books`])
//!
//! The first five are held while something is awaited. The last three never are, and each is the
//! only lock of its owner: a debug build panics where a thread takes one of them out of order, or
//! twice, for a second read beside a waiting writer waits for ever. What stands below, key stores,
//! the hub, the store, the log and the claims of keys, has locks of its own and calls nothing here.

use std::ops::{Deref, DerefMut};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Which lock it is, in the order in which they are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// The CAs, and what is told of them once.
    Cas,
    /// The state.
    State,
    /// What the ledger keeps beside the log.
    Books,
}

/// What only one owner keeps, behind a lock that knows its place.
#[derive(Debug)]
pub(crate) struct Ordered<T> {
    place: Place,
    value: RwLock<T>,
}

/// A value that is locked, until this is dropped.
#[derive(Debug)]
pub(crate) struct Locked<G> {
    guard: G,
    _held: held::Held,
}

impl<T> Ordered<T> {
    pub(crate) fn new(place: Place, value: T) -> Self {
        Self {
            place,
            value: RwLock::new(value),
        }
    }

    /// Waits until nobody writes. A value is replaced whole, so a writer that panicked left nothing
    /// half done.
    pub(crate) fn read(&self) -> Locked<RwLockReadGuard<'_, T>> {
        let held = held::Held::new(self.place);
        let guard = self.value.read().unwrap_or_else(PoisonError::into_inner);
        Locked { guard, _held: held }
    }

    /// Waits until nobody reads or writes.
    pub(crate) fn write(&self) -> Locked<RwLockWriteGuard<'_, T>> {
        let held = held::Held::new(self.place);
        let guard = self.value.write().unwrap_or_else(PoisonError::into_inner);
        Locked { guard, _held: held }
    }
}

impl<G: Deref> Deref for Locked<G> {
    type Target = G::Target;

    fn deref(&self) -> &G::Target {
        &self.guard
    }
}

impl<G: DerefMut> DerefMut for Locked<G> {
    fn deref_mut(&mut self) -> &mut G::Target {
        &mut self.guard
    }
}

/// Which of the locks this thread holds.
#[cfg(debug_assertions)]
mod held {
    use std::cell::RefCell;

    use super::Place;

    thread_local! {
        static HELD: RefCell<Vec<Place>> = const { RefCell::new(Vec::new()) };
    }

    #[derive(Debug)]
    pub(super) struct Held(Place);

    impl Held {
        pub(super) fn new(place: Place) -> Self {
            HELD.with_borrow_mut(|held| {
                let last = held.iter().max().copied();
                assert!(
                    last < Some(place),
                    "{place:?} is locked while {last:?} is: see the order in lock.rs"
                );
                held.push(place);
            });
            Self(place)
        }
    }

    impl Drop for Held {
        fn drop(&mut self) {
            HELD.with_borrow_mut(|held| held.retain(|place| *place != self.0));
        }
    }
}

/// A release build looks at nothing.
#[cfg(not(debug_assertions))]
mod held {
    #[derive(Debug)]
    pub(super) struct Held;

    impl Held {
        pub(super) fn new(_: super::Place) -> Self {
            Self
        }
    }
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use super::*;

    fn locks() -> [Ordered<u8>; 3] {
        [Place::Cas, Place::State, Place::Books].map(|place| Ordered::new(place, 0))
    }

    #[test]
    fn locks_are_taken_in_their_order() {
        let [cas, state, books] = locks();
        let held = (cas.read(), state.write(), books.read());
        drop(held);
        // One that was given back can be taken again, also below another.
        let first = cas.write();
        drop(books.read());
        drop(state.read());
        drop(first);
        drop(cas.read());
    }

    #[test]
    #[should_panic(expected = "Cas is locked while Some(State) is")]
    fn lock_out_of_order_is_found() {
        let [cas, state, _] = locks();
        let _held = state.read();
        drop(cas.read());
    }

    #[test]
    #[should_panic(expected = "State is locked while Some(State) is")]
    fn lock_taken_twice_is_found() {
        let [_, state, _] = locks();
        let _held = state.read();
        drop(state.read());
    }
}
