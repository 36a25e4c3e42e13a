//! What the sidecar tells upstream: who consumes what it holds, and what it has served.

use std::time::Duration;

use countersign_model::{EntitlementId, Serial};
use countersign_proto::convert::serial_bytes;
use countersign_proto::convert::time::timestamp;
use countersign_proto::mesh::{
    self, ConsumerReport, HandshakeReport, ServedReport, consumer::Kind,
};
use jiff::Timestamp;

use crate::consumers::{Consumer, ConsumerKind, Consumers};

/// Changes of few consumers are gathered for this long into one report.
const REPORT_DELAY: Duration = Duration::from_millis(20);
/// How many consumers count as few.
const FEW_CONSUMERS: usize = 64;

/// For how long changes are gathered into one report. A report tells of every consumer, so the
/// wait grows with their number: callers that come and go must not decide how much is sent.
pub(super) fn delay(consumers: usize) -> Duration {
    let times = u32::try_from(1 + consumers / FEW_CONSUMERS).unwrap_or(u32::MAX);
    REPORT_DELAY.saturating_mul(times)
}

/// The whole of the consumers. A stream that takes a leaf alone names no bundle: an Envoy takes each
/// secret on a stream of its own, and no root has to wait for this one. Once it has ended it is nobody's.
pub(super) fn consumers(consumers: &Consumers) -> ConsumerReport {
    let all = consumers.all().into_iter();
    let told = all.filter(|(_, it)| it.connected || it.resource.is_some());
    ConsumerReport {
        consumers: told.map(|(id, consumer)| entry(id, consumer)).collect(),
    }
}

/// One serial that was seen in a handshake of our own.
pub(super) fn served(
    entitlement: &EntitlementId,
    serial: &Serial,
    first_seen: Timestamp,
) -> ServedReport {
    ServedReport {
        entitlement: entitlement.to_string(),
        serial: serial_bytes(serial),
        first_seen: Some(timestamp(first_seen)),
    }
}

/// How many handshakes failed because of a certificate since the process started.
pub(super) fn handshakes(failed: u64) -> HandshakeReport {
    HandshakeReport { failed }
}

fn entry(id: String, consumer: Consumer) -> mesh::Consumer {
    let kind = match consumer.kind {
        ConsumerKind::Proxy => Kind::Proxy,
        ConsumerKind::Envoy => Kind::Envoy,
        ConsumerKind::WorkloadApi => Kind::WorkloadApi,
    };
    mesh::Consumer {
        id,
        kind: kind.into(),
        resource: consumer.resource.unwrap_or_default(),
        bundle_version: consumer.bundle_version.unwrap_or_default(),
        connected: consumer.connected,
        credential_not_after: consumer.credential_not_after.map(timestamp),
        delivered_at: consumer.delivered_at.map(timestamp),
        serials: consumer.serials.iter().map(serial_bytes).collect(),
    }
}
