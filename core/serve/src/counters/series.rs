//! The counters of a process's listeners as series that a scrape reads.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::Counters;
use crate::places::Occupancy;

/// `listener_connections_total{listener,result}`, `listener_places{listener,kind}` with
/// `listener_places_taken{listener,kind}` and, where a handshake failed,
/// `tls_handshake_failures_total{reason}`: for a registry, whose prefix they get.
#[derive(Debug)]
pub struct ListenerSeries(Vec<(Arc<str>, Arc<Counters>)>);

impl ListenerSeries {
    /// The listeners of a process, by the name in logs and labels.
    pub fn of<N: Into<Arc<str>>>(listeners: impl IntoIterator<Item = (N, Arc<Counters>)>) -> Self {
        let listeners = listeners.into_iter();
        Self(
            listeners
                .map(|(name, counters)| (name.into(), counters))
                .collect(),
        )
    }

    fn failures(&self) -> BTreeMap<&'static str, u64> {
        let mut failures = BTreeMap::new();
        for (reason, count) in self.0.iter().flat_map(|(_, counters)| counters.reasons()) {
            *failures.entry(reason).or_default() += count;
        }
        failures
    }

    /// One number of every kind of places that a listener has.
    fn encode_places(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        (name, help): (&str, &str),
        number: fn(&Occupancy) -> usize,
    ) -> fmt::Result {
        let mut series = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (listener, counters) in &self.0 {
            for (kind, places) in counters.places() {
                if places.total() > 0 {
                    let labels = [("listener", &**listener), ("kind", kind)];
                    let number = i64::try_from(number(places)).unwrap_or(i64::MAX);
                    ConstGauge::new(number).encode(series.encode_family(&labels)?)?;
                }
            }
        }
        Ok(())
    }
}

impl Collector for ListenerSeries {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Connections of a listener, by what became of them";
        let mut connections =
            encoder.encode_descriptor("listener_connections", help, None, MetricType::Counter)?;
        for (listener, counters) in &self.0 {
            for (result, count) in counters.results() {
                let labels = [("listener", &**listener), ("result", result)];
                ConstCounter::new(count).encode(connections.encode_family(&labels)?)?;
            }
        }
        let places = ("listener_places", "Places of a listener, by kind");
        self.encode_places(&mut encoder, places, Occupancy::total)?;
        let taken = (
            "listener_places_taken",
            "Places of a listener that are taken, by kind",
        );
        self.encode_places(&mut encoder, taken, Occupancy::open)?;
        let failures = self.failures();
        if failures.is_empty() {
            return Ok(());
        }
        let help = "Incoming TLS handshakes that came to nothing, by reason";
        let mut series =
            encoder.encode_descriptor("tls_handshake_failures", help, None, MetricType::Counter)?;
        for (reason, count) in failures {
            ConstCounter::new(count).encode(series.encode_family(&[("reason", reason)])?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;
    use crate::tls::HandshakeError;

    #[test]
    fn listeners_are_told_apart() {
        let (api, admin) = (Arc::<Counters>::default(), Arc::<Counters>::default());
        let mut registry = Registry::with_prefix("countersign");
        let series = ListenerSeries::of([("api", api.clone()), ("admin", admin.clone())]);
        registry.register_collector(Box::new(series));
        let scrape = || {
            let mut text = String::new();
            encode(&mut text, &registry).unwrap();
            text
        };
        let before = scrape();
        assert!(!before.contains("tls_handshake_failures"), "{before}");

        api.served.increment();
        admin.refused.increment();
        api.handshake_failed(&HandshakeError::Deadline);
        admin.handshake_failed(&HandshakeError::Deadline);
        let text = scrape();
        for line in [
            "# TYPE countersign_listener_connections counter",
            r#"countersign_listener_connections_total{listener="api",result="served"} 1"#,
            r#"countersign_listener_connections_total{listener="api",result="late"} 1"#,
            r#"countersign_listener_connections_total{listener="api",result="refused"} 0"#,
            r#"countersign_listener_connections_total{listener="admin",result="refused"} 1"#,
            r#"countersign_tls_handshake_failures_total{reason="deadline"} 2"#,
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
