//! Metrics, all under `countersign_`, all times absolute: a dashboard subtracts, and a stopped
//! process never shows a countdown that stands still.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::departure::Departure;
use super::held::HeldSeries;
use crate::holdings::Snapshot;
use crate::identity::clock_skew::ClockSkew;

/// What every name begins with.
const PREFIX: &str = "countersign";

/// Which side of a connection a listener of ours is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Side {
    /// It accepts mTLS.
    Inbound,
    /// It connects with mTLS.
    Outbound,
}

impl Side {
    /// The word in metrics, logs and `status`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HandshakeLabels {
    side: Side,
    /// One of the codes of [`HandshakeError`](countersign_serve::tls::HandshakeError), or `ok`.
    result: &'static str,
}

/// Bounded: the listeners of the configuration, and words of this program.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusalLabels {
    listener: Arc<str>,
    reason: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SideLabels {
    side: Side,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DepartureLabels {
    reason: Departure,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    result: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Outcome {
    Ok,
    Failed,
}

impl EncodeLabelValue for Side {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        self.as_str().encode(encoder)
    }
}

impl EncodeLabelValue for Outcome {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        let word = match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
        };
        word.encode(encoder)
    }
}

impl From<bool> for Outcome {
    fn from(ok: bool) -> Self {
        if ok { Self::Ok } else { Self::Failed }
    }
}

/// All metrics of one sidecar.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    handshakes: Family<HandshakeLabels, Counter>,
    /// The part of them that a certificate failed, for the control plane.
    certificates_refused: AtomicU64,
    refusals: Family<RefusalLabels, Counter>,
    renewals: Family<OutcomeLabels, Counter>,
    connections: Family<SideLabels, Gauge>,
    connected: Gauge,
    failovers: Family<DepartureLabels, Counter>,
    clock_skew: Gauge,
    /// Only where the configuration asks for it: who runs here is not for every local process.
    identity_labels: bool,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::with(false, |_| {})
    }
}

impl Metrics {
    /// With the metrics of other parts of the sidecar under the same prefix; with series that name
    /// SPIFFE IDs, if so wanted.
    pub(crate) fn with(identity_labels: bool, others: impl FnOnce(&mut Registry)) -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix(PREFIX),
            handshakes: Family::default(),
            certificates_refused: AtomicU64::default(),
            refusals: Family::default(),
            renewals: Family::default(),
            connections: Family::default(),
            connected: Gauge::default(),
            failovers: Family::default(),
            clock_skew: Gauge::default(),
            identity_labels,
        };
        metrics.register();
        others(&mut metrics.registry);
        metrics
    }

    /// A handshake of one of our listeners ended: `ok`, or the code of its error.
    pub(crate) fn handshake(&self, side: Side, result: &'static str) {
        self.handshakes
            .get_or_create(&HandshakeLabels { side, result })
            .inc();
    }

    /// A handshake failed because of a certificate: ours, or the peer's.
    pub(crate) fn certificate_refused(&self) {
        self.certificates_refused.fetch_add(1, Ordering::Relaxed);
    }

    /// How many handshakes failed so since the start.
    pub(crate) fn certificates_refused(&self) -> u64 {
        self.certificates_refused.load(Ordering::Relaxed)
    }

    /// A listener, by its table in the configuration, refused a connection.
    pub(crate) fn refusal(&self, listener: &Arc<str>, reason: &'static str) {
        let labels = RefusalLabels {
            listener: Arc::clone(listener),
            reason,
        };
        self.refusals.get_or_create(&labels).inc();
    }

    /// An enrolment ended: its chain is installed, or it failed.
    pub(crate) fn renewal(&self, ok: bool) {
        let result = ok.into();
        self.renewals.get_or_create(&OutcomeLabels { result }).inc();
    }

    /// A connection of the proxy opened (1) or ended (-1).
    pub(crate) fn connections(&self, side: Side, change: i64) {
        self.connections
            .get_or_create(&SideLabels { side })
            .inc_by(change);
    }

    /// The discovery stream of the control plane is open or not.
    pub(crate) fn connected(&self, connected: bool) {
        self.connected.set(i64::from(connected));
    }

    /// The discovery stream opened at another address than the one before, which was left for this.
    pub(crate) fn failed_over(&self, reason: Departure) {
        self.failovers
            .get_or_create(&DepartureLabels { reason })
            .inc();
    }

    /// How our clock stands to the control plane's, where they disagree.
    pub(crate) fn clocks(&self, skew: Option<ClockSkew>) {
        self.clock_skew.set(skew.map_or(0, |skew| skew.as_secs()));
    }

    /// All metrics as OpenMetrics text.
    pub(crate) fn encode(&self, snapshot: &Arc<Snapshot>, now: Timestamp) -> String {
        let mut held = Registry::with_prefix(PREFIX);
        held.register_collector(Box::new(HeldSeries {
            snapshot: Arc::clone(snapshot),
            now,
            identity_labels: self.identity_labels,
        }));
        let mut text = String::new();
        encode_registry(&mut text, &self.registry)
            .and_then(|()| encode_registry(&mut text, &held))
            .and_then(|()| encode_eof(&mut text))
            .expect("writing to a string does not fail");
        text
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "tls_handshakes",
            "TLS handshakes of the proxy",
            self.handshakes.clone(),
        );
        registry.register(
            "connections_refused",
            "Connections that a listener of the proxy refused, by why",
            self.refusals.clone(),
        );
        registry.register(
            "renewals",
            "Enrolments that ended, by whether a new certificate was installed",
            self.renewals.clone(),
        );
        registry.register(
            "connections_open",
            "Connections that the proxy carries",
            self.connections.clone(),
        );
        registry.register(
            "control_stream_connected",
            "1 while the discovery stream of the control plane is open",
            self.connected.clone(),
        );
        registry.register(
            "control_failovers",
            "Streams of the control plane that opened at another address than the one before, by why that was left",
            self.failovers.clone(),
        );
        registry.register(
            "clock_skew_seconds",
            "How far this clock is ahead of the control plane's, or behind it where negative; 0 up to 30 s",
            self.clock_skew.clone(),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::holdings::Held;
    use crate::pki::{Authority, now, right, serial};

    #[test]
    fn identities_are_named_only_if_asked_for() {
        let authority = Authority::new("root");
        let entitlement = Arc::new(right('1', "/web", 1));
        let held = Held {
            svid: Some(authority.svid(&entitlement.spiffe_id, serial(1))),
            entitlement: entitlement.clone(),
            problem: None,
        };
        let end = held.svid.as_ref().unwrap().lifetime.not_after.as_second();
        let snapshot = Arc::new(Snapshot {
            entries: Arc::new([(entitlement.id.clone(), held)].into()),
            ..Snapshot::default()
        });
        let metrics = Metrics::with(true, |_| {});
        let name = r#"cert_not_after_timestamp_seconds{spiffe_id="spiffe://example.org/web"}"#;
        assert!(metrics.encode(&snapshot, now()).contains(name));
        let unnamed = Metrics::default().encode(&snapshot, now());
        assert!(!unnamed.contains("spiffe://"), "{unnamed}");
        for line in [
            "countersign_certificates 1".to_owned(),
            format!("countersign_first_cert_not_after_timestamp_seconds {end}"),
        ] {
            assert!(unnamed.contains(&line), "{line} in {unnamed}");
        }
        let nothing = Arc::<Snapshot>::default();
        assert!(!metrics.encode(&nothing, now()).contains(name));
    }

    #[test]
    fn counters_carry_their_labels() {
        let metrics = Metrics::default();
        metrics.handshake(Side::Inbound, "ok");
        metrics.handshake(Side::Outbound, "deadline");
        metrics.connections(Side::Inbound, 2);
        metrics.connections(Side::Inbound, -1);
        let snapshot = Arc::new(Snapshot {
            unsaved: Some("the disk is full".into()),
            ..Snapshot::default()
        });
        let text = metrics.encode(&snapshot, Timestamp::UNIX_EPOCH);
        for line in [
            r#"countersign_tls_handshakes_total{side="inbound",result="ok"} 1"#,
            r#"countersign_tls_handshakes_total{side="outbound",result="deadline"} 1"#,
            r#"countersign_connections_open{side="inbound"} 1"#,
            "countersign_outage_headroom_seconds 0",
            "countersign_state_unsaved 1",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
