//! The gate: the fair queue with calls that await their turn.
//!
//! A place is a value: [`Permit`] gives it to the next one when it is dropped, wherever that is. A
//! call that hangs up leaves the queue when its future is dropped; one whose turn came in that very
//! moment drops the permit that it was sent.

use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::queue::{Offer, Queue, Ticket};
use super::{Class, LATEST_RETRY, Limits, Reason, Refused, SOONEST_RETRY};
use crate::AdmissionSeries;

/// What a waiting call is woken by: its place.
type Wake<C> = oneshot::Sender<Permit<C>>;

/// Lets a bounded number of calls run, and others wait their turn.
#[derive(Debug)]
pub struct Gate<C: Key> {
    queue: Mutex<Queue<C, Wake<C>>>,
    max_wait: Duration,
    series: AdmissionSeries,
}

/// What callers are told apart by.
pub trait Key: Clone + Eq + Hash + fmt::Debug {}

impl<T: Clone + Eq + Hash + fmt::Debug> Key for T {}

/// A place among the calls that run.
#[derive(Debug)]
#[must_use = "dropping it ends the place"]
pub struct Permit<C: Key> {
    gate: Option<Arc<Gate<C>>>,
}

/// A call that waits: it leaves the queue when it is dropped.
struct Waiting<'a, C: Key> {
    gate: &'a Gate<C>,
    caller: &'a C,
    ticket: Ticket,
}

impl<C: Key> Gate<C> {
    /// An open gate.
    pub fn new(limits: Limits, series: AdmissionSeries) -> Arc<Self> {
        Arc::new(Self {
            queue: Mutex::new(Queue::new(limits)),
            max_wait: limits.max_wait,
            series,
        })
    }

    /// Waits for a place; not at all where there is room. `class` is asked only of who waits: it
    /// costs more than to send one away.
    ///
    /// # Errors
    /// The caller used up its rate or its share of the queue, the queue is full, or no place came
    /// free in time.
    pub async fn enter(
        self: &Arc<Self>,
        caller: &C,
        class: impl FnOnce() -> Class,
    ) -> Result<Permit<C>, Refused> {
        let admitted = self.lock().admit(caller, Instant::now().into_std());
        let entered = match admitted {
            Ok(true) => Ok(self.permit()),
            Ok(false) => self.wait(caller, class()).await,
            Err(refused) => Err(refused),
        };
        entered.inspect_err(|refused| self.series.refused(refused.reason))
    }

    /// Counts one against the rate of a caller.
    pub fn count(&self, caller: &C) {
        self.lock().count(caller, Instant::now().into_std());
    }

    /// How many run and how many wait.
    pub fn occupancy(&self) -> (usize, usize) {
        self.lock().occupancy()
    }

    async fn wait(self: &Arc<Self>, caller: &C, class: Class) -> Result<Permit<C>, Refused> {
        let (wake, woken) = oneshot::channel();
        let offered = self
            .lock()
            .offer(caller, class, wake, Instant::now().into_std());
        let ticket = match offered? {
            Offer::Admitted => return Ok(self.permit()),
            Offer::Queued(ticket) => ticket,
        };
        let _waiting = Waiting {
            gate: self,
            caller,
            ticket,
        };
        match timeout(self.max_wait, woken).await {
            Ok(permit) => Ok(permit.expect("a gate that is waited at keeps its queue")),
            Err(_) => Err(Refused {
                reason: Reason::Waited,
                retry_after: self.lock().drained_in().clamp(SOONEST_RETRY, LATEST_RETRY),
            }),
        }
    }

    fn permit(self: &Arc<Self>) -> Permit<C> {
        Permit {
            gate: Some(self.clone()),
        }
    }

    /// Gives a place that came free to the next one that still waits.
    fn release(self: &Arc<Self>) {
        loop {
            let now = Instant::now().into_std();
            let turn = self.lock().finish(now);
            let Some(turn) = turn else {
                return;
            };
            let waited = now.saturating_duration_since(turn.since);
            match turn.waiter.send(self.permit()) {
                Ok(()) => return self.series.waited(turn.class, waited),
                // It hung up in this moment. Not by its drop, which would come back here.
                Err(mut permit) => permit.gate = None,
            }
        }
    }

    /// Every change of the queue is whole before anything in it can panic.
    fn lock(&self) -> MutexGuard<'_, Queue<C, Wake<C>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: Key> Drop for Permit<C> {
    fn drop(&mut self) {
        if let Some(gate) = self.gate.take() {
            gate.release();
        }
    }
}

impl<C: Key> Drop for Waiting<'_, C> {
    fn drop(&mut self) {
        self.gate.lock().leave(self.caller, self.ticket);
    }
}
