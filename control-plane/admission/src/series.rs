//! What is counted at the gates before signing and attestation.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::{Class, Reason};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QueueLabel {
    queue: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClassLabels {
    queue: &'static str,
    class: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusalLabels {
    queue: &'static str,
    reason: &'static str,
}

/// The series of every gate, by the name of the gate.
#[derive(Clone, Debug)]
pub struct Gates {
    waits: Family<ClassLabels, Histogram>,
    refusals: Family<RefusalLabels, Counter>,
    waiting: Family<QueueLabel, Gauge>,
    running: Family<QueueLabel, Gauge>,
}

/// The series of one gate. Clones count into the same ones.
#[derive(Clone, Debug)]
pub struct AdmissionSeries {
    queue: &'static str,
    gates: Gates,
}

impl AdmissionSeries {
    /// A call was let in after a wait.
    pub fn waited(&self, class: Class, wait: Duration) {
        let class = match class {
            Class::First => "first",
            Class::Renewal => "renewal",
        };
        let queue = self.queue;
        let series = self
            .gates
            .waits
            .get_or_create(&ClassLabels { queue, class });
        series.observe(wait.as_secs_f64());
    }

    /// A call was sent away.
    pub fn refused(&self, reason: Reason) {
        let (queue, reason) = (self.queue, reason.as_str());
        let labels = RefusalLabels { queue, reason };
        self.gates.refusals.get_or_create(&labels).inc();
    }
}

impl Gates {
    /// The series of a gate.
    pub fn of(&self, queue: &'static str) -> AdmissionSeries {
        AdmissionSeries {
            queue,
            gates: self.clone(),
        }
    }

    /// How many run and how many wait now.
    pub fn read(&self, queue: &'static str, (running, waiting): (usize, usize)) {
        let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let label = QueueLabel { queue };
        self.running.get_or_create(&label).set(count(running));
        self.waiting.get_or_create(&label).set(count(waiting));
    }

    /// Registers the series of every gate.
    pub fn register(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "admission_wait",
            "Time that a call waited for its turn, where it had to",
            Unit::Seconds,
            self.waits.clone(),
        );
        registry.register(
            "admission_refusals",
            "Calls that were told to come back later, by reason",
            self.refusals.clone(),
        );
        registry.register(
            "admission_waiting",
            "Calls that wait for their turn",
            self.waiting.clone(),
        );
        registry.register(
            "admission_running",
            "Calls that were let in and are not done",
            self.running.clone(),
        );
    }
}

impl Default for Gates {
    fn default() -> Self {
        Self {
            waits: Family::new_with_constructor(|| {
                Histogram::new(exponential_buckets(0.000_5, 2.0, 16))
            }),
            refusals: Family::default(),
            waiting: Family::default(),
            running: Family::default(),
        }
    }
}
