//! The places of a Unix listener, by what the daemon makes of a user.
//!
//! Whoever may create user namespaces has thousands of uids, so a share for each uid bounds nobody.
//! Uids that may have nothing share a few places. Of the uid with the most the oldest goes first, or,
//! for want of memory, the one that holds most. All others are for users who are recognised, with a
//! share for each [`Holder`]: the uid, gid or program that is admitted. A connection moves when
//! another is.
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
use crate::places::{Bounds, Holder, Place, Places, Standing, Surplus, Weight};

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
    holder: Holder,
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

    /// A place for one more connection that this uid opened and that is counted for this holder; `None`
    /// where there is none for it.
    pub fn take(&self, uid: u32, holder: Holder) -> Option<Arc<UserPlace>> {
        let seats = self.of(&holder);
        let seat = Seat {
            place: seats.connections.take(holder.clone())?,
            envoy: seats.envoy(&holder),
            holder,
        };
        Some(Arc::new(UserPlace {
            places: self.clone(),
            uid,
            seat: Mutex::new(seat),
        }))
    }

    /// Ends the connection that holds most of those that this uid has as a stranger.
    pub fn cut_stranger(&self, uid: u32) {
        let connections = &self.strangers.connections;
        connections.displace_heaviest(&Holder::Stranger(uid));
    }

    fn of(&self, holder: &Holder) -> &Seats {
        match holder.standing() {
            Standing::Recognised => &self.recognised,
            Standing::Stranger => &self.strangers,
        }
    }
}

impl Seats {
    fn envoy(&self, holder: &Holder) -> Option<Place> {
        self.envoys.as_ref()?.take(holder.clone())
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

/// The place of one connection, and whom it is counted for.
#[derive(Debug)]
pub struct UserPlace {
    places: UserPlaces,
    uid: u32,
    seat: Mutex<Seat>,
}

impl UserPlace {
    /// Whom it is counted for now.
    pub fn holder(&self) -> Holder {
        self.lock().holder.clone()
    }

    /// What that one is here.
    pub fn standing(&self) -> Standing {
        self.lock().holder.standing()
    }

    /// What its connection holds now.
    pub fn weight(&self) -> Weight {
        self.lock().place.weight()
    }

    /// What its connection may hold.
    pub(super) fn capacity(&self) -> Capacity {
        let seat = self.lock();
        match (&seat.envoy, seat.holder.standing()) {
            (Some(_), _) => CAPACITY_OF_ENVOYS,
            (None, Standing::Recognised) => CAPACITY_OF_USERS,
            (None, Standing::Stranger) => CAPACITY_OF_LOCAL_STRANGERS,
        }
    }

    /// The daemon counts it for this one now. While the share of that one is taken it is a stranger's; a
    /// place that is lost already is not given back.
    pub fn change(&self, holder: &Holder) {
        let mut seat = self.lock();
        if seat.holder == *holder || seat.place.is_lost() {
            return;
        }
        let Some((holder, place)) = self.other(holder, &seat.holder) else {
            return;
        };
        let old = std::mem::replace(&mut seat.place, place);
        // What the connection may hold was settled when it began.
        if seat.envoy.is_some()
            && let Some(envoy) = self.places.of(&holder).envoy(&holder)
        {
            seat.envoy = Some(envoy);
        }
        seat.holder = holder;
        drop(seat);
        // The connection has to watch its new place.
        old.wake();
    }

    /// Another place than the one that it has: of this holder, or else a stranger's.
    fn other(&self, holder: &Holder, own: &Holder) -> Option<(Holder, Place)> {
        let candidates = [holder.clone(), Holder::Stranger(self.uid)];
        candidates.into_iter().find_map(|holder| {
            if holder == *own {
                return None;
            }
            let place = self.places.of(&holder).connections.take(holder.clone())?;
            Some((holder, place))
        })
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

    fn held(places: &UserPlaces, holder: &Holder) -> Vec<Arc<UserPlace>> {
        std::iter::from_fn(|| places.take(1, holder.clone()))
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
        let first = held(&places, &Holder::Uid(1));
        assert_eq!((first.len(), envoys(&first)), (100, ENVOYS_OF_A_UID));
        // Whatever others hold, and again when they are given back.
        let second = held(&places, &Holder::Uid(2));
        assert_eq!(envoys(&second), ENVOYS_OF_A_UID);
        drop(first);
        let again = held(&places, &Holder::Uid(1));
        assert_eq!(envoys(&again), ENVOYS_OF_A_UID);
    }

    #[test]
    fn strangers_share_the_capacity_of_few_envoys() {
        let places = places();
        let first = held(&places, &Holder::Stranger(1));
        let second = held(&places, &Holder::Stranger(2));
        let mut others = Vec::new();
        for uid in 3..50 {
            others.extend(places.take(uid, Holder::Stranger(uid)));
        }
        let (first, second) = (envoys(&first), envoys(&second));
        assert!(first >= 1 && second >= 1, "{first}, {second}");
        assert!(first + second + envoys(&others) <= ENVOYS_OF_STRANGERS);
    }

    #[test]
    fn envoy_that_is_registered_later_leaves_its_place_to_others() {
        let places = places();
        let waiting = held(&places, &Holder::Stranger(1));
        let registered = envoys(&waiting);
        waiting
            .iter()
            .for_each(|place| place.change(&Holder::Uid(1)));
        assert_eq!(envoys(&waiting), registered);
        let others = held(&places, &Holder::Stranger(2));
        assert!(envoys(&others) >= registered.min(ENVOYS_OF_A_UID));
    }

    #[test]
    fn operator_needs_little() {
        let places = UserPlaces::of_operators(&Limits::default(), &Counters::default());
        assert_eq!(envoys(&held(&places, &Holder::Uid(0))), 0);
    }

    /// More uids than there are places, each with as many connections as it gets.
    fn crowd(places: &UserPlaces, holder: impl Fn(u32) -> Holder) -> Vec<Arc<UserPlace>> {
        let of = |uid| std::iter::repeat_with(move || (uid, places)).take(2);
        let taken = (0..200).flat_map(of);
        taken
            .filter_map(|(uid, places)| places.take(uid, holder(uid)))
            .collect()
    }

    #[test]
    fn idle_connections_shield_none_that_holds_much() {
        let places = places();
        let idle = held(&places, &Holder::Stranger(1));
        idle[1].weight().add(1);
        let greedy = places.take(1, Holder::Stranger(1)).unwrap();
        greedy.weight().add(2);
        let is_cut = |place: &UserPlace| place.lock().place.is_lost();
        places.cut_stranger(1);
        assert!(is_cut(&greedy) && !idle.iter().any(|place| is_cut(place)));
        idle[1].weight().subtract(1);
        places.cut_stranger(1);
        assert!(
            is_cut(&idle[0]) && !is_cut(&idle[1]),
            "the oldest of equal ones"
        );
    }

    #[test]
    fn uids_of_one_gid_or_program_share_its_places() {
        let most = Limits::default().max_connections_per_uid;
        for holder in [Holder::Gid(7), Holder::Program("/bin/a".into())] {
            let places = places();
            let all = crowd(&places, |_| holder.clone());
            assert_eq!((all.len(), envoys(&all)), (most, ENVOYS_OF_A_UID));
            let other = held(&places, &Holder::Uid(7));
            assert_eq!((other.len(), envoys(&other)), (100, ENVOYS_OF_A_UID));
        }
    }

    #[test]
    fn connections_beyond_the_share_of_a_new_holder_are_strangers() {
        let places = places();
        let all = crowd(&places, Holder::Uid);
        all.iter().for_each(|place| place.change(&Holder::Gid(7)));
        let of_gid = |place: &&Arc<UserPlace>| place.holder() == Holder::Gid(7);
        let (of_gid, others): (Vec<_>, Vec<_>) = all.iter().partition(of_gid);
        assert_eq!(of_gid.len(), Limits::default().max_connections_per_uid);
        let strangers = others.iter().filter(|place| !place.lock().place.is_lost());
        assert_eq!(
            strangers.count(),
            Limits::default().max_strangers.min(others.len())
        );
        let is_stranger = |place: &&Arc<UserPlace>| place.holder() == Holder::Stranger(place.uid);
        assert!(others.iter().all(is_stranger), "each of its own uid");
    }
}
