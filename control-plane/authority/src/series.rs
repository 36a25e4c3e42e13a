//! What is counted where certificates are made.
//!
//! It stands with the authority, which does not know who scrapes it.

mod labels;

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use tokio::time::Instant;

pub use labels::{Alarm, Phase};
use labels::{KindLabel, PhaseLabel};

/// Durations of the phases of an issuance, and alarms. Clones count into the same series.
#[derive(Clone, Debug)]
pub struct IssuanceSeries {
    durations: Family<PhaseLabel, Histogram>,
    alarms: Family<KindLabel, Counter>,
}

impl IssuanceSeries {
    /// Records how long a phase took.
    pub fn took(&self, phase: Phase, time: Duration) {
        let series = self.durations.get_or_create(&phase.into());
        series.observe(time.as_secs_f64());
    }

    /// Runs a phase and records how long it took, whatever comes of it.
    pub fn timed<T>(&self, phase: Phase, run: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let outcome = run();
        self.took(phase, begun.elapsed());
        outcome
    }

    /// Counts something that must not happen.
    pub fn alarm(&self, alarm: Alarm) {
        self.alarms.get_or_create(&alarm.into()).inc();
    }

    /// Registers the series.
    pub fn register(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "issuance_duration",
            "Time that a phase of an issuance took",
            Unit::Seconds,
            self.durations.clone(),
        );
        registry.register(
            "alarms",
            "States that must not occur, by kind",
            self.alarms.clone(),
        );
    }
}

impl Default for IssuanceSeries {
    fn default() -> Self {
        let issuance = Self {
            durations: Family::new_with_constructor(|| {
                Histogram::new(exponential_buckets(0.000_05, 2.0, 16))
            }),
            alarms: Family::default(),
        };
        for alarm in Alarm::ALL {
            drop(issuance.alarms.get_or_create(&alarm.into()));
        }
        issuance
    }
}
