//! Series of what is held. They are read where it is held when somebody scrapes: nothing is kept for
//! them, and nothing copied.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use countersign_model::Entitlement;
use jiff::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::holdings::{Holdings, Snapshot, Svid};

/// Most identities that have time series of their own, where the configuration asks for such
/// series; the others are served all the same.
pub(crate) const MAX_IDENTITY_SERIES: usize = 1_024;

/// What one snapshot shows at one moment.
#[derive(Debug)]
pub(super) struct HeldSeries {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) now: Timestamp,
    /// Whether series name SPIFFE IDs.
    pub(super) identity_labels: bool,
}

type Certificate<'a> = (&'a Entitlement, &'a Svid);

impl HeldSeries {
    fn certificates(&self) -> impl Iterator<Item = Certificate<'_>> {
        let held = self.snapshot.entries.values();
        held.filter_map(|held| Some((&*held.entitlement, &**held.svid.as_ref()?)))
    }

    fn headroom_secs(&self) -> u64 {
        let left = self.certificates();
        let left = left.map(|(_, svid)| svid.lifetime.remaining(self.now));
        left.min().unwrap_or_default().as_secs()
    }

    /// The first of these moments; 0 without any.
    fn first(&self, moment: fn(Certificate<'_>) -> Timestamp) -> i64 {
        let first = self.certificates().map(moment).min();
        first.map_or(0, Timestamp::as_second)
    }

    fn encode_each(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        (name, help): (&str, &str),
        moment: fn(Certificate<'_>) -> Timestamp,
    ) -> fmt::Result {
        let mut series = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        let certificates = self.certificates().take(MAX_IDENTITY_SERIES);
        let named = certificates.map(|it| (it.1.id.as_str(), moment(it).as_second()));
        // One series for an identity, also when two certificates of it are held.
        for (spiffe_id, moment) in named.collect::<BTreeMap<_, _>>() {
            let labels = [("spiffe_id", spiffe_id)];
            ConstGauge::new(moment).encode(series.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

impl Collector for HeldSeries {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for (name, help, value) in [
            (
                "outage_headroom_seconds",
                "How long every credential would last if the control plane were gone from now on",
                i64::try_from(self.headroom_secs()).unwrap_or(i64::MAX),
            ),
            (
                "state_unsaved",
                "1 while something that must survive a restart is held in memory alone",
                i64::from(self.snapshot.unsaved.is_some()),
            ),
            (
                "certificates",
                "Certificates that are held",
                i64::try_from(self.certificates().count()).unwrap_or(i64::MAX),
            ),
            (
                "first_cert_not_after_timestamp_seconds",
                "The earliest NotAfter of all certificates that are held, Unix time; 0 without any",
                self.first(not_after),
            ),
            (
                "first_cert_renew_at_timestamp_seconds",
                "When the first of the certificates that are held is renewed, Unix time; 0 without any",
                self.first(renewal),
            ),
        ] {
            let gauge = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(value).encode(gauge)?;
        }
        if !self.identity_labels {
            return Ok(());
        }
        let ends = "NotAfter of the certificate that is held, Unix time";
        let ends = ("cert_not_after_timestamp_seconds", ends);
        self.encode_each(&mut encoder, ends, not_after)?;
        let renewals = "When the certificate that is held is renewed, Unix time";
        let renewals = ("cert_renew_at_timestamp_seconds", renewals);
        self.encode_each(&mut encoder, renewals, renewal)
    }
}

fn not_after((_, svid): Certificate<'_>) -> Timestamp {
    svid.lifetime.not_after
}

fn renewal((entitlement, svid): Certificate<'_>) -> Timestamp {
    entitlement.renewal(&svid.serial, &svid.lifetime)
}

/// How many streams and listeners changes have woken.
#[derive(Debug)]
pub(crate) struct WokenSeries(pub(crate) Arc<Holdings>);

impl Collector for WokenSeries {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Streams and listeners that a change of what is held has woken: \
             their work grows with this";
        let woken =
            encoder.encode_descriptor("followers_woken", help, None, MetricType::Counter)?;
        ConstCounter::new(self.0.woken()).encode(woken)
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;
    use crate::holdings::Held;
    use crate::pki::{Authority, now, right, serial};

    #[test]
    fn two_certificates_of_one_identity_are_one_series() {
        let authority = Authority::new("root");
        let held = |digit| {
            let entitlement = Arc::new(right(digit, "/web", 1));
            let held = Held {
                svid: Some(authority.svid(&entitlement.spiffe_id, serial(1))),
                entitlement: Arc::clone(&entitlement),
                problem: None,
            };
            (entitlement.id.clone(), held)
        };
        let snapshot = Arc::new(Snapshot {
            entries: Arc::new([held('1'), held('2')].into()),
            ..Snapshot::default()
        });
        let before = Arc::strong_count(&snapshot);
        let series = HeldSeries {
            snapshot: Arc::clone(&snapshot),
            now: now(),
            identity_labels: true,
        };
        let mut registry = Registry::default();
        registry.register_collector(Box::new(series));
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        drop(registry);
        let name = r#"cert_not_after_timestamp_seconds{spiffe_id="spiffe://example.org/web"}"#;
        assert_eq!(text.matches(name).count(), 1, "{text}");
        assert!(text.contains("\ncertificates 2\n"), "{text}");
        assert_eq!(Arc::strong_count(&snapshot), before, "nothing is kept");
    }
}
