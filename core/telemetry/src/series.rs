//! What was not logged, as series that a scrape reads.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;

use crate::{peer_lines, queue};

/// `log_lines_dropped_total` and `log_lines_left_out_total`: for a registry, whose prefix they get.
#[derive(Debug)]
pub struct LogSeries;

impl Collector for LogSeries {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let dropped = "Log lines that were dropped because nobody read stderr";
        let left_out = "Log lines that were left out because a peer caused too many";
        for (name, help, count) in [
            ("log_lines_dropped", dropped, queue::dropped_total()),
            ("log_lines_left_out", left_out, peer_lines::left_out_total()),
        ] {
            let series = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(count).encode(series)?;
        }
        Ok(())
    }
}
