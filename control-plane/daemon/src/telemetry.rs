//! What the control plane counts, and how it says whether it can do its job.
//!
//! Times are absolute Unix timestamps, units are base units, labels are bounded: no SPIFFE ID,
//! serial or address is one.

mod labels;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use countersign_admission::{AdmissionSeries, Gates};
use countersign_discovery::NackReason;
use countersign_serve::{Counters, ListenerSeries};
use countersign_telemetry::LogSeries;
use jiff::Timestamp;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

pub(crate) use labels::Outcome;

use labels::{ReasonLabel, ResultLabel, RoleLabel};

/// What every series begins with.
const PREFIX: &str = "countersign";
/// The gate that recognised callers pass.
const SIGNING: &str = "signing";
/// The gate that attestations pass.
const ATTESTING: &str = "attestation";

/// Every series of this process but those of the issuance. Cheap to count in; read by a scrape.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    /// Of the sidecar API.
    pub(crate) api: Arc<Counters>,
    /// Of the operator's socket.
    pub(crate) admin: Arc<Counters>,
    attestations: Family<ResultLabel, Counter>,
    enrolments: Family<ResultLabel, Counter>,
    nacks: Family<ReasonLabel, Counter>,
    issued: Counter,
    streams: Gauge,
    registrations: Gauge,
    nodes: Gauge,
    certified_keys: Gauge,
    store_writable: Gauge,
    ca_not_after: Family<RoleLabel, Gauge<f64, AtomicU64>>,
    gates: Gates,
}

impl Metrics {
    /// The listeners that count their connections, by name.
    pub(crate) fn listeners(&self) -> [(&'static str, &Arc<Counters>); 2] {
        [("api", &self.api), ("admin", &self.admin)]
    }

    /// Counts an attestation.
    pub(crate) fn attested(&self, outcome: Outcome) {
        self.attestations.get_or_create(&outcome.into()).inc();
    }

    /// Counts an enrolment.
    pub(crate) fn enrolled(&self, outcome: Outcome) {
        self.enrolments.get_or_create(&outcome.into()).inc();
    }

    /// Counts a refused update.
    pub(crate) fn nack(&self, reason: NackReason) {
        let reason = reason.as_str();
        self.nacks.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// The series of the gate that recognised callers pass.
    pub(crate) fn signing(&self) -> AdmissionSeries {
        self.gates.of(SIGNING)
    }

    /// The series of the gate that attestations pass.
    pub(crate) fn attesting(&self) -> AdmissionSeries {
        self.gates.of(ATTESTING)
    }

    /// All series, in the OpenMetrics text format: those that are counted here, with the gauges as
    /// they are now, and those that others count.
    pub(crate) fn scrape(&self, levels: &Levels, others: impl FnOnce(&mut Registry)) -> String {
        self.set(levels);
        let mut counted_elsewhere = Registry::with_prefix(PREFIX);
        others(&mut counted_elsewhere);
        let mut text = String::new();
        encode_registry(&mut text, &self.registry)
            .and_then(|()| encode_registry(&mut text, &counted_elsewhere))
            .and_then(|()| encode_eof(&mut text))
            .expect("writing into a string does not fail");
        text
    }

    fn set(&self, levels: &Levels) {
        let issued = self.issued.inner();
        issued.store(levels.issued, std::sync::atomic::Ordering::Relaxed);
        self.gates.read(SIGNING, levels.signing);
        self.gates.read(ATTESTING, levels.attesting);
        let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        self.streams.set(count(levels.streams));
        self.registrations.set(count(levels.registrations));
        self.nodes.set(count(levels.nodes));
        self.certified_keys.set(count(levels.certified_keys));
        self.store_writable.set(levels.store_writable.into());
        for (role, not_after) in &levels.ca_not_after {
            let series = self.ca_not_after.get_or_create(&RoleLabel { role });
            series.set(not_after.as_duration().as_secs_f64());
        }
    }
}

/// What the gauges are set to.
#[derive(Debug)]
pub(crate) struct Levels {
    /// Certificates in the issuance log.
    pub(crate) issued: u64,
    /// Open discovery streams.
    pub(crate) streams: usize,
    /// Registrations.
    pub(crate) registrations: usize,
    /// Nodes that have attested.
    pub(crate) nodes: usize,
    /// Keys with a certificate that is valid or being made.
    pub(crate) certified_keys: usize,
    /// Whether the store takes writes.
    pub(crate) store_writable: bool,
    /// NotAfter of the active CA, by role.
    pub(crate) ca_not_after: Vec<(&'static str, Timestamp)>,
    /// How many recognised callers run, and how many wait.
    pub(crate) signing: (usize, usize),
    /// How many attestations run, and how many wait.
    pub(crate) attesting: (usize, usize),
}

impl Default for Metrics {
    fn default() -> Self {
        let metrics = Self {
            registry: Registry::with_prefix(PREFIX),
            api: Arc::default(),
            admin: Arc::default(),
            attestations: Family::default(),
            enrolments: Family::default(),
            nacks: Family::default(),
            issued: Counter::default(),
            streams: Gauge::default(),
            registrations: Gauge::default(),
            nodes: Gauge::default(),
            certified_keys: Gauge::default(),
            store_writable: Gauge::default(),
            ca_not_after: Family::default(),
            gates: Gates::default(),
        };
        metrics.registered()
    }
}

impl Metrics {
    fn registered(mut self) -> Self {
        let listeners = self.listeners();
        let listeners = listeners.map(|(name, counters)| (name, Arc::clone(counters)));
        let r = &mut self.registry;
        r.register_collector(Box::new(ListenerSeries::of(listeners)));
        r.register_collector(Box::new(LogSeries));
        r.register(
            "svids_issued",
            "Certificates in the issuance log",
            self.issued.clone(),
        );
        r.register(
            "attestations",
            "Attestations by result",
            self.attestations.clone(),
        );
        r.register(
            "enrolments",
            "Enrolled keys by result",
            self.enrolments.clone(),
        );
        r.register(
            "nacks",
            "Updates that a node refused, by reason",
            self.nacks.clone(),
        );
        r.register(
            "streams_connected",
            "Open discovery streams",
            self.streams.clone(),
        );
        r.register("registrations", "Registrations", self.registrations.clone());
        r.register("nodes", "Nodes that have attested", self.nodes.clone());
        r.register(
            "certified_keys",
            "Keys with a certificate that is valid or being made",
            self.certified_keys.clone(),
        );
        r.register(
            "store_writable",
            "Whether the database takes writes: 1, or 0 while it is away or refuses them",
            self.store_writable.clone(),
        );
        r.register_with_unit(
            "ca_not_after_timestamp",
            "NotAfter of the active authority, by role",
            Unit::Seconds,
            self.ca_not_after.clone(),
        );
        self.gates.register(r);
        self
    }
}
