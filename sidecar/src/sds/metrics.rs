//! What is counted about SDS consumers.

use std::sync::atomic::AtomicI64;

use countersign_discovery::NackReason;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refusal {
    reason: &'static str,
}

/// The metrics of the SDS service.
#[derive(Clone, Debug, Default)]
pub(crate) struct SdsMetrics {
    streams: Gauge<i64, AtomicI64>,
    refusals: Family<Refusal, Counter>,
    lookups: Counter,
}

impl SdsMetrics {
    /// Adds them to a registry, whose prefix names the project.
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register("sds_streams", "Open SDS streams", self.streams.clone());
        registry.register(
            "sds_refusals",
            "Secrets that an Envoy refused",
            self.refusals.clone(),
        );
        registry.register(
            "sds_lookups",
            "Names looked up for SDS consumers: their work grows with this",
            self.lookups.clone(),
        );
    }

    pub(super) fn looked_up(&self) {
        self.lookups.inc();
    }

    pub(crate) fn refused(&self, reason: NackReason) {
        let reason = reason.as_str();
        self.refusals.get_or_create(&Refusal { reason }).inc();
    }

    /// Counts a stream until the guard is dropped.
    pub(super) fn stream_opened(&self) -> OpenStream {
        self.streams.inc();
        OpenStream(self.streams.clone())
    }
}

/// One open stream.
#[derive(Debug)]
pub(super) struct OpenStream(Gauge<i64, AtomicI64>);

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.dec();
    }
}
