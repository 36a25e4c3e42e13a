//! How many calls are under way, by who makes them.
//!
//! HTTP/2 lets a caller begin calls and never end them, and end them without reading the answer. So a
//! call has a place from its head to the last byte of its answer. Strangers, nodes and local users
//! have places of their own. The first of each caller are its own: whatever all others do, one that
//! needs few gets them.

use std::sync::{Mutex, PoisonError};

use super::budget::{Account, Charge, Exhausted, Payer};
use crate::limits::{
    CALLS_OF_IDENTITIES, CALLS_OF_LOCAL_STRANGERS, CALLS_OF_STRANGERS, CALLS_OF_USERS, CallBounds,
};
use crate::places::{Bounds, Place, Places, Surplus};

/// The places of all calls of a server.
#[derive(Debug)]
pub(super) struct Calls {
    strangers: Seats,
    identities: Seats,
    users: Seats,
    local_strangers: Seats,
}

/// The places of one kind of callers.
#[derive(Debug)]
struct Seats {
    first: Places,
    more: Places,
}

impl Calls {
    pub(super) fn new() -> Self {
        Self {
            strangers: Seats::new(CALLS_OF_STRANGERS),
            identities: Seats::new(CALLS_OF_IDENTITIES),
            users: Seats::new(CALLS_OF_USERS),
            local_strangers: Seats::new(CALLS_OF_LOCAL_STRANGERS),
        }
    }

    /// A place for one more call of this caller, unless it has its share.
    pub(super) fn enter(&self, payer: &Payer) -> Option<Place> {
        let seats = match payer {
            Payer::Source(_) => &self.strangers,
            Payer::Identity(_) => &self.identities,
            Payer::Uid(_) | Payer::Gid(_) | Payer::Program(_) | Payer::Process(_) => &self.users,
            Payer::Stranger(_) => &self.local_strangers,
        };
        let first = seats.first.take(payer.clone());
        let more = || seats.more.take(payer.clone());
        first.or_else(more)
    }
}

/// A call, from its head to the last byte of its answer: its place, and what it takes by itself.
#[derive(Debug)]
pub(super) struct Call {
    charge: Mutex<Option<Charge>>,
    _place: Place,
}

impl Call {
    /// One that takes so many bytes, which this account pays for.
    ///
    /// # Errors
    /// The bound of that account that it would break.
    pub(super) fn begin(place: Place, account: &Account, bytes: usize) -> Result<Self, Exhausted> {
        let charge = match bytes {
            0 => None,
            bytes => {
                let mut charge = account.open();
                charge.resize(bytes)?;
                Some(charge)
            }
        };
        Ok(Self {
            charge: Mutex::new(charge),
            _place: place,
        })
    }

    /// Another account pays for it.
    ///
    /// # Errors
    /// The bound of that account that it would break.
    pub(super) fn move_to(&self, account: &Account) -> Result<(), Exhausted> {
        let mut charge = self.charge.lock().unwrap_or_else(PoisonError::into_inner);
        charge.as_mut().map_or(Ok(()), |it| it.move_to(account))
    }
}

impl Seats {
    fn new(bounds: CallBounds) -> Self {
        // There are no more callers than the listener has connections.
        let unbounded = usize::MAX / 16;
        Self {
            first: places(bounds.first, unbounded),
            more: places(bounds.each, bounds.total),
        }
    }
}

fn places(each: usize, total: usize) -> Places {
    Places::new(Bounds {
        total,
        each,
        surplus: Surplus::Refused,
    })
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn source(last: u8) -> Payer {
        Payer::source(Ipv4Addr::new(192, 0, 2, last).into())
    }

    fn node(number: usize) -> Payer {
        let id = format!("spiffe://example.org/node/{number}");
        Payer::Identity(id.parse().unwrap())
    }

    /// As many as this caller gets.
    fn flood(calls: &Calls, payer: &Payer) -> Vec<Place> {
        std::iter::from_fn(|| calls.enter(payer)).collect()
    }

    #[test]
    fn calls_of_one_caller_take_its_share_and_come_back() {
        let calls = Calls::new();
        for (payer, bounds) in [
            (source(1), CALLS_OF_STRANGERS),
            (node(1), CALLS_OF_IDENTITIES),
            (Payer::Uid(1), CALLS_OF_USERS),
            (Payer::Stranger(1), CALLS_OF_LOCAL_STRANGERS),
        ] {
            let held = flood(&calls, &payer);
            assert!(held.len() <= bounds.of_one());
            let again = held.len();
            drop(held);
            assert_eq!(flood(&calls, &payer).len(), again);
        }
    }

    #[test]
    fn fresh_caller_gets_in_while_all_others_flood() {
        let calls = Calls::new();
        let mut held = Vec::new();
        for number in 0..200 {
            held.extend(flood(&calls, &source(number)));
            held.extend(flood(&calls, &node(number.into())));
            held.extend(flood(&calls, &Payer::Uid(number.into())));
            held.extend(flood(&calls, &Payer::Stranger(number.into())));
        }
        let kinds = [
            CALLS_OF_STRANGERS,
            CALLS_OF_IDENTITIES,
            CALLS_OF_USERS,
            CALLS_OF_LOCAL_STRANGERS,
        ];
        let most = kinds.map(|bounds| 200 * bounds.first + bounds.total);
        assert!(held.len() <= most.iter().sum());
        let fresh = [
            source(250),
            node(250),
            Payer::Uid(250),
            Payer::Stranger(250),
        ];
        for (fresh, bounds) in fresh.iter().zip(kinds) {
            let held = flood(&calls, fresh);
            assert!(held.len() >= bounds.first, "{fresh:?}");
        }
    }

    #[test]
    fn streams_of_two_large_envoys_fit() {
        let calls = Calls::new();
        assert!(flood(&calls, &Payer::Uid(7)).len() >= 2_560);
        // And of one before it is known who may have what.
        assert!(flood(&calls, &Payer::Stranger(7)).len() >= 1_000);
    }
}
