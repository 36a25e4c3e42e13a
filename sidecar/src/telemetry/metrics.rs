//! Metrics, all under `countersign_`, all times absolute: a dashboard subtracts, and a stopped
//! process never shows a countdown that stands still.

use std::sync::{Arc, Mutex};

use countersign_model::Entitlement;
use jiff::Timestamp;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::holdings::{Snapshot, Svid};
use crate::identity::clock_skew::ClockSkew;
use crate::identity::schedule::renewal_of;

/// Most identities that have time series of their own, where the configuration asks for such
/// series; the others are served all the same.
pub(crate) const MAX_IDENTITY_SERIES: usize = 1_024;

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
struct OutcomeLabels {
    result: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct IdentityLabels {
    spiffe_id: String,
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

/// The series of single identities.
#[derive(Debug, Default)]
struct ByIdentity {
    not_after: Family<IdentityLabels, Gauge>,
    renew_at: Family<IdentityLabels, Gauge>,
}

/// All metrics of one sidecar.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    handshakes: Family<HandshakeLabels, Counter>,
    refusals: Family<RefusalLabels, Counter>,
    renewals: Family<OutcomeLabels, Counter>,
    connections: Family<SideLabels, Gauge>,
    connected: Gauge,
    headroom: Gauge,
    clock_skew: Gauge,
    unsaved: Gauge,
    certificates: Gauge,
    first_not_after: Gauge,
    first_renew_at: Gauge,
    /// Only where the configuration asks for it: who runs here is not for every local process.
    by_identity: Option<ByIdentity>,
    // One scrape at a time: the gauges by identity are cleared and filled again.
    scrape: Mutex<()>,
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
            registry: Registry::with_prefix("countersign"),
            handshakes: Family::default(),
            refusals: Family::default(),
            renewals: Family::default(),
            connections: Family::default(),
            connected: Gauge::default(),
            headroom: Gauge::default(),
            clock_skew: Gauge::default(),
            unsaved: Gauge::default(),
            certificates: Gauge::default(),
            first_not_after: Gauge::default(),
            first_renew_at: Gauge::default(),
            by_identity: identity_labels.then(ByIdentity::default),
            scrape: Mutex::default(),
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

    /// How our clock stands to the control plane's, where they disagree.
    pub(crate) fn clocks(&self, skew: Option<ClockSkew>) {
        self.clock_skew.set(skew.map_or(0, |skew| skew.as_secs()));
    }

    /// All metrics as OpenMetrics text.
    pub(crate) fn encode(&self, snapshot: &Snapshot, now: Timestamp) -> String {
        let _one = self
            .scrape
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        self.refresh(snapshot, now);
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to a string does not fail");
        text
    }

    fn refresh(&self, snapshot: &Snapshot, now: Timestamp) {
        let held: Vec<_> = snapshot
            .entries
            .values()
            .filter_map(|held| Some((&*held.entitlement, &**held.svid.as_ref()?)))
            .collect();
        let first = |moments: &mut dyn Iterator<Item = Timestamp>| {
            moments.min().map_or(0, Timestamp::as_second)
        };
        let mut ends = held.iter().map(|(_, svid)| svid.lifetime.not_after);
        self.first_not_after.set(first(&mut ends));
        let mut renewals = held.iter().map(renewal);
        self.first_renew_at.set(first(&mut renewals));
        let count = i64::try_from(held.len()).unwrap_or(i64::MAX);
        self.certificates.set(count);
        if let Some(by_identity) = &self.by_identity {
            by_identity.refresh(&held);
        }
        let shortest = held.iter().map(|(_, svid)| svid.lifetime.remaining(now));
        let headroom = shortest.min().unwrap_or_default().as_secs();
        self.unsaved.set(i64::from(snapshot.unsaved.is_some()));
        self.headroom
            .set(i64::try_from(headroom).unwrap_or(i64::MAX));
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
            "clock_skew_seconds",
            "How far this clock is ahead of the control plane's, or behind it where negative; 0 up to 30 s",
            self.clock_skew.clone(),
        );
        registry.register(
            "outage_headroom_seconds",
            "How long every credential would last if the control plane were gone from now on",
            self.headroom.clone(),
        );
        registry.register(
            "state_unsaved",
            "1 while something that must survive a restart is held in memory alone",
            self.unsaved.clone(),
        );
        registry.register(
            "certificates",
            "Certificates that are held",
            self.certificates.clone(),
        );
        registry.register(
            "first_cert_not_after_timestamp_seconds",
            "The earliest NotAfter of all certificates that are held, Unix time; 0 without any",
            self.first_not_after.clone(),
        );
        registry.register(
            "first_cert_renew_at_timestamp_seconds",
            "When the first of the certificates that are held is renewed, Unix time; 0 without any",
            self.first_renew_at.clone(),
        );
        if let Some(by_identity) = &self.by_identity {
            by_identity.register(registry);
        }
    }
}

impl ByIdentity {
    fn refresh(&self, held: &[(&Entitlement, &Svid)]) {
        self.not_after.clear();
        self.renew_at.clear();
        for held @ (_, svid) in held.iter().take(MAX_IDENTITY_SERIES) {
            let spiffe_id = svid.id.to_string();
            let labels = IdentityLabels { spiffe_id };
            let not_after = svid.lifetime.not_after.as_second();
            self.not_after.get_or_create(&labels).set(not_after);
            let renew_at = self.renew_at.get_or_create(&labels);
            renew_at.set(renewal(held).as_second());
        }
    }

    fn register(&self, registry: &mut Registry) {
        registry.register(
            "cert_not_after_timestamp_seconds",
            "NotAfter of the certificate that is held, Unix time",
            self.not_after.clone(),
        );
        registry.register(
            "cert_renew_at_timestamp_seconds",
            "When the certificate that is held is renewed, Unix time",
            self.renew_at.clone(),
        );
    }
}

fn renewal((entitlement, svid): &(&Entitlement, &Svid)) -> Timestamp {
    renewal_of(entitlement, &svid.serial, &svid.lifetime)
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
        let mut snapshot = Snapshot {
            entries: Arc::new([(entitlement.id.clone(), held)].into()),
            ..Snapshot::default()
        };
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
        snapshot.entries = Arc::default();
        assert!(!metrics.encode(&snapshot, now()).contains(name));
    }

    #[test]
    fn counters_carry_their_labels() {
        let metrics = Metrics::default();
        metrics.handshake(Side::Inbound, "ok");
        metrics.handshake(Side::Outbound, "deadline");
        metrics.connections(Side::Inbound, 2);
        metrics.connections(Side::Inbound, -1);
        let snapshot = Snapshot {
            unsaved: Some("the disk is full".into()),
            ..Snapshot::default()
        };
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
