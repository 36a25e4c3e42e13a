//! Calls of a device that may never return: each in a thread that can be left behind, all of them
//! few, none waited for beyond a deadline.
//!
//! What such a call answers after its caller gave up is handed to `late`, which undoes what nobody
//! would find. The decisions are in [`in_flight`].

mod in_flight;

use std::sync::mpsc::{RecvTimeoutError, SendError, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;
use std::{fmt, io, thread};

use countersign_serve::blocking;

pub use in_flight::Bounds;
pub(super) use in_flight::Refused;
use in_flight::{InFlight, Turn};

/// The calls of one device.
pub(super) struct Calls {
    in_flight: Mutex<InFlight>,
    /// A place is free, or the device hangs.
    changed: Condvar,
    /// Threads that have nothing to do. With those that have there are never more than places.
    idle: Mutex<Vec<SyncSender<Job>>>,
}

/// A call and its place, which it leaves when it is done.
struct Job {
    call: Box<dyn FnOnce() + Send>,
    place: Place,
}

/// The place of a call that is under way.
struct Place {
    calls: Arc<Calls>,
    number: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.calls.in_flight().returned(self.number);
        self.calls.changed.notify_all();
    }
}

impl Calls {
    pub(super) fn new(bounds: Bounds) -> Arc<Self> {
        Arc::new(Self {
            in_flight: Mutex::new(InFlight::new(bounds)),
            changed: Condvar::new(),
            idle: Mutex::default(),
        })
    }

    pub(super) fn bounds(&self) -> Bounds {
        self.in_flight().bounds()
    }

    /// Whether calls do not return.
    pub(super) fn is_hung(&self) -> bool {
        self.in_flight().is_hung(Instant::now())
    }

    /// Whether a caller would be let through now, or wait for a place. Who is told so of a device
    /// that hangs is the one that tries it.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub(super) fn admits(&self) -> Result<(), Refused> {
        self.in_flight().admits(Instant::now())
    }

    /// Calls the device, and waits for the answer within the bounds.
    ///
    /// # Errors
    /// There was no place, or no answer in time.
    pub(super) fn run<T: Send + 'static>(
        self: &Arc<Self>,
        call: impl FnOnce() -> T + Send + 'static,
        late: impl FnOnce(T) + Send + 'static,
    ) -> Result<T, Refused> {
        blocking(|| {
            let place = self.place()?;
            self.answer(place, call, late)
        })
    }

    /// Looks at the device, unless another look is under way: that one will tell.
    pub(super) fn look(self: &Arc<Self>, look: impl FnOnce() + Send + 'static) {
        let Some(number) = self.in_flight().look(Instant::now()) else {
            return;
        };
        let calls = self.clone();
        let place = Place { calls, number };
        // Whether it hangs is asked elsewhere.
        let _ = blocking(|| self.answer(place, look, drop));
    }

    fn place(self: &Arc<Self>) -> Result<Place, Refused> {
        let mut in_flight = self.in_flight();
        let mut turn = in_flight.turn(Instant::now())?;
        if turn == Turn::Wait {
            in_flight.queue()?;
            let outcome;
            (in_flight, outcome) = self.wait(in_flight);
            in_flight.unqueue();
            turn = outcome?;
        }
        drop(in_flight);
        match turn {
            Turn::Call(number) => Ok(Place {
                calls: self.clone(),
                number,
            }),
            Turn::Wait => Err(Refused::Full),
        }
    }

    /// Waits for a turn to call; still [`Turn::Wait`] where that took too long.
    fn wait<'c>(
        &'c self,
        mut in_flight: MutexGuard<'c, InFlight>,
    ) -> (MutexGuard<'c, InFlight>, Result<Turn, Refused>) {
        let give_up = Instant::now() + in_flight.bounds().place_wait;
        loop {
            let left = give_up.saturating_duration_since(Instant::now());
            let waited = self.changed.wait_timeout(in_flight, left);
            in_flight = waited.unwrap_or_else(PoisonError::into_inner).0;
            let turn = in_flight.turn(Instant::now());
            if turn != Ok(Turn::Wait) || left.is_zero() {
                return (in_flight, turn);
            }
        }
    }

    fn answer<T: Send + 'static>(
        self: &Arc<Self>,
        place: Place,
        call: impl FnOnce() -> T + Send + 'static,
        late: impl FnOnce(T) + Send + 'static,
    ) -> Result<T, Refused> {
        // Without a buffer: what is sent was received, or comes back.
        let (answer, answered) = sync_channel(0);
        let call = Box::new(move || {
            if let Err(SendError(unheard)) = answer.send(call()) {
                late(unheard);
            }
        });
        let handed = self.hand_over(Job { call, place });
        handed.map_err(|_| Refused::Broken)?;
        let deadline = self.bounds().deadline;
        answered.recv_timeout(deadline).map_err(|error| {
            // Those who wait for a place need not wait longer.
            self.changed.notify_all();
            match error {
                RecvTimeoutError::Timeout => Refused::Hung,
                RecvTimeoutError::Disconnected => Refused::Broken,
            }
        })
    }

    fn hand_over(self: &Arc<Self>, mut job: Job) -> io::Result<()> {
        let idle = self.idle().pop();
        if let Some(thread) = idle {
            match thread.send(job) {
                Ok(()) => return Ok(()),
                // It ended.
                Err(SendError(unsent)) => job = unsent,
            }
        }
        let calls = Arc::downgrade(self);
        let thread = thread::Builder::new().name("key-store".to_owned());
        thread.spawn(move || serve(&calls, job)).map(drop)
    }

    fn in_flight(&self) -> MutexGuard<'_, InFlight> {
        self.in_flight
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<SyncSender<Job>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The life of a thread: one call after another, until nobody can ask for any more.
fn serve(calls: &Weak<Calls>, mut job: Job) {
    loop {
        let Job { call, place } = job;
        call();
        let Some(calls) = calls.upgrade() else {
            return;
        };
        let (idle, next) = sync_channel(1);
        // Before the place is free: whoever takes it finds this thread.
        calls.idle().push(idle);
        drop(place);
        drop(calls);
        match next.recv() {
            Ok(next) => job = next,
            Err(_) => return,
        }
    }
}

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calls")
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
