//! The places of a Unix listener, by what the daemon makes of a user.
//!
//! Whoever may create user namespaces has thousands of uids, so a share for each uid bounds nobody.
//! Uids that may have nothing share a few places, of which the oldest of the uid with the most goes
//! first; all others are for users who are recognised, with a share for each. A connection moves when
//! its user's standing changes.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Context;

use crate::counters::Counters;
use crate::limits::Limits;
use crate::places::{Bounds, Holder, Place, Places, Standing, Surplus};

/// The places of one listener.
#[derive(Clone, Debug)]
pub struct UserPlaces {
    recognised: Places,
    strangers: Places,
}

impl UserPlaces {
    /// Within these limits, and counted.
    pub fn new(limits: &Limits, counters: &Counters) -> Self {
        let strangers = Places::observed(strangers(limits), counters.strangers.clone());
        Self {
            strangers,
            ..Self::of_operators(limits, counters)
        }
    }

    /// Where nobody is let in as a stranger.
    pub(super) fn of_operators(limits: &Limits, counters: &Counters) -> Self {
        let recognised = Bounds {
            total: limits.max_connections,
            each: limits.max_connections_per_uid,
            surplus: Surplus::Refused,
        };
        Self {
            recognised: Places::observed(recognised, counters.connections.clone()),
            strangers: Places::new(strangers(limits)),
        }
    }

    /// A place for one more connection of this user; `None` where there is none for it.
    pub(super) fn take(&self, uid: u32, standing: Standing) -> Option<Arc<UserPlace>> {
        let place = self.of(standing).take(Holder::Uid(uid))?;
        Some(Arc::new(UserPlace {
            places: self.clone(),
            uid,
            taken: Mutex::new((standing, place)),
        }))
    }

    /// Ends the oldest connection that this uid has as a stranger.
    pub fn cut_stranger(&self, uid: u32) {
        self.strangers.displace(&Holder::Uid(uid));
    }

    fn of(&self, standing: Standing) -> &Places {
        match standing {
            Standing::Recognised => &self.recognised,
            Standing::Stranger => &self.strangers,
        }
    }
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
    taken: Mutex<(Standing, Place)>,
}

impl UserPlace {
    /// The standing that counts for it now.
    pub fn standing(&self) -> Standing {
        self.lock().0
    }

    /// The daemon makes something else of the user now. Who is recognised while his share is taken
    /// stays where he is; a place that is lost already is not given back.
    pub fn change(&self, standing: Standing) {
        let mut taken = self.lock();
        if taken.0 == standing || taken.1.is_lost() {
            return;
        }
        if let Some(place) = self.places.of(standing).take(Holder::Uid(self.uid)) {
            let (_, old) = std::mem::replace(&mut *taken, (standing, place));
            drop(taken);
            // The connection has to watch its new place.
            old.wake();
        }
    }

    /// Fails once the connection has to end. Asked on every use, as that of a TLS connection.
    pub(super) fn check(&self, cx: &Context<'_>) -> io::Result<()> {
        match self.lock().1.poll_lost(cx).is_ready() {
            true => Err(io::ErrorKind::ConnectionAborted.into()),
            false => Ok(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, (Standing, Place)> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
