//! The places of a Unix listener, by what the daemon makes of a user.
//!
//! Whoever may create user namespaces has thousands of uids, so a share for each uid bounds nobody.
//! Uids that may have nothing share a few places, of which the oldest of the uid with the most goes
//! first; all others are for users who are recognised, with a share for each. A connection moves when
//! its user's standing changes.
//!
//! The first connections of a user may hold what an Envoy with a thousand secrets needs, all further ones
//! a small part of it.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Context;

use crate::counters::Counters;
use crate::grpc::Capacity;
use crate::limits::{
    CAPACITY_OF_ENVOYS, CAPACITY_OF_LOCAL_STRANGERS, CAPACITY_OF_USERS, ENVOYS_OF_A_UID,
    ENVOYS_OF_STRANGERS, Limits,
};
use crate::places::{Bounds, Holder, Place, Places, Standing, Surplus};

/// The places of one listener.
#[derive(Clone, Debug)]
pub struct UserPlaces {
    recognised: Seats,
    strangers: Seats,
}

/// Places of connections, and for some of them one among those with the capacity of an Envoy.
#[derive(Clone, Debug)]
struct Seats {
    connections: Places,
    envoys: Option<Places>,
}

/// What a connection has of them.
#[derive(Debug)]
struct Seat {
    standing: Standing,
    place: Place,
    envoy: Option<Place>,
}

impl UserPlaces {
    /// Within these limits, and counted.
    pub fn new(limits: &Limits, counters: &Counters) -> Self {
        Self {
            recognised: Seats {
                connections: recognised(limits, counters),
                envoys: Some(envoys(ENVOYS_OF_A_UID, limits.max_connections)),
            },
            strangers: Seats {
                connections: Places::observed(strangers(limits), counters.strangers.clone()),
                envoys: Some(envoys(ENVOYS_OF_STRANGERS, ENVOYS_OF_STRANGERS)),
            },
        }
    }

    /// Where nobody is let in as a stranger, and no Envoy comes.
    pub(super) fn of_operators(limits: &Limits, counters: &Counters) -> Self {
        let seats = |connections| Seats {
            connections,
            envoys: None,
        };
        Self {
            recognised: seats(recognised(limits, counters)),
            strangers: seats(Places::new(strangers(limits))),
        }
    }

    /// A place for one more connection of this user; `None` where there is none for it.
    pub(super) fn take(&self, uid: u32, standing: Standing) -> Option<Arc<UserPlace>> {
        let seats = self.of(standing);
        let seat = Seat {
            standing,
            place: seats.connections.take(Holder::Uid(uid))?,
            envoy: seats.envoy(uid),
        };
        Some(Arc::new(UserPlace {
            places: self.clone(),
            uid,
            seat: Mutex::new(seat),
        }))
    }

    /// Ends the oldest connection that this uid has as a stranger.
    pub fn cut_stranger(&self, uid: u32) {
        self.strangers.connections.displace(&Holder::Uid(uid));
    }

    fn of(&self, standing: Standing) -> &Seats {
        match standing {
            Standing::Recognised => &self.recognised,
            Standing::Stranger => &self.strangers,
        }
    }
}

impl Seats {
    fn envoy(&self, uid: u32) -> Option<Place> {
        self.envoys.as_ref()?.take(Holder::Uid(uid))
    }
}

fn recognised(limits: &Limits, counters: &Counters) -> Places {
    let bounds = Bounds {
        total: limits.max_connections,
        each: limits.max_connections_per_uid,
        surplus: Surplus::Refused,
    };
    Places::observed(bounds, counters.connections.clone())
}

fn envoys(each: usize, total: usize) -> Places {
    Places::new(Bounds {
        total,
        each,
        surplus: Surplus::Refused,
    })
}

/// One uid may have all that no other wants: the first that waits for its registration.
fn strangers(limits: &Limits) -> Bounds {
    Bounds {
        total: limits.max_strangers,
        each: limits.max_strangers,
        surplus: Surplus::OldestGoes,
    }
}

/// The place of one connection, and the standing that it has it by.
#[derive(Debug)]
pub struct UserPlace {
    places: UserPlaces,
    uid: u32,
    seat: Mutex<Seat>,
}

impl UserPlace {
    /// The standing that counts for it now.
    pub fn standing(&self) -> Standing {
        self.lock().standing
    }

    /// What its connection may hold.
    pub(super) fn capacity(&self) -> Capacity {
        let seat = self.lock();
        match (&seat.envoy, seat.standing) {
            (Some(_), _) => CAPACITY_OF_ENVOYS,
            (None, Standing::Recognised) => CAPACITY_OF_USERS,
            (None, Standing::Stranger) => CAPACITY_OF_LOCAL_STRANGERS,
        }
    }

    /// The daemon makes something else of the user now. Who is recognised while his share is taken
    /// stays where he is; a place that is lost already is not given back.
    pub fn change(&self, standing: Standing) {
        let mut seat = self.lock();
        if seat.standing == standing || seat.place.is_lost() {
            return;
        }
        let seats = self.places.of(standing);
        let Some(place) = seats.connections.take(Holder::Uid(self.uid)) else {
            return;
        };
        seat.standing = standing;
        let old = std::mem::replace(&mut seat.place, place);
        // What the connection may hold was settled when it began.
        if seat.envoy.is_some()
            && let Some(envoy) = seats.envoy(self.uid)
        {
            seat.envoy = Some(envoy);
        }
        drop(seat);
        // The connection has to watch its new place.
        old.wake();
    }

    /// Fails once the connection has to end. Asked on every use, as that of a TLS connection.
    pub(super) fn check(&self, cx: &Context<'_>) -> io::Result<()> {
        match self.lock().place.poll_lost(cx).is_ready() {
            true => Err(io::ErrorKind::ConnectionAborted.into()),
            false => Ok(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Seat> {
        self.seat.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> UserPlaces {
        UserPlaces::new(&Limits::default(), &Counters::default())
    }

    fn held(places: &UserPlaces, uid: u32, standing: Standing) -> Vec<Arc<UserPlace>> {
        std::iter::from_fn(|| places.take(uid, standing))
            .take(100)
            .collect()
    }

    fn envoys(of: &[Arc<UserPlace>]) -> usize {
        let capacities = of.iter().map(|place| place.capacity());
        capacities
            .filter(|capacity| *capacity == CAPACITY_OF_ENVOYS)
            .count()
    }

    #[test]
    fn first_connections_of_a_user_may_hold_what_an_envoy_needs() {
        let places = places();
        let first = held(&places, 1, Standing::Recognised);
        assert_eq!((first.len(), envoys(&first)), (100, ENVOYS_OF_A_UID));
        // Whatever others hold, and again when they are given back.
        let second = held(&places, 2, Standing::Recognised);
        assert_eq!(envoys(&second), ENVOYS_OF_A_UID);
        drop(first);
        assert_eq!(
            envoys(&held(&places, 1, Standing::Recognised)),
            ENVOYS_OF_A_UID
        );
    }

    #[test]
    fn strangers_share_the_capacity_of_few_envoys() {
        let places = places();
        let first = held(&places, 1, Standing::Stranger);
        let second = held(&places, 2, Standing::Stranger);
        let mut others = Vec::new();
        for uid in 3..50 {
            others.extend(places.take(uid, Standing::Stranger));
        }
        let (first, second) = (envoys(&first), envoys(&second));
        assert!(first >= 1 && second >= 1, "{first}, {second}");
        assert!(first + second + envoys(&others) <= ENVOYS_OF_STRANGERS);
    }

    #[test]
    fn envoy_that_is_registered_later_leaves_its_place_to_others() {
        let places = places();
        let waiting = held(&places, 1, Standing::Stranger);
        let registered = envoys(&waiting);
        waiting
            .iter()
            .for_each(|place| place.change(Standing::Recognised));
        assert_eq!(envoys(&waiting), registered);
        assert!(envoys(&held(&places, 2, Standing::Stranger)) >= registered.min(ENVOYS_OF_A_UID));
    }

    #[test]
    fn operator_needs_little() {
        let places = UserPlaces::of_operators(&Limits::default(), &Counters::default());
        assert_eq!(envoys(&held(&places, 0, Standing::Recognised)), 0);
    }
}
