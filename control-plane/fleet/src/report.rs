//! Reading what a sidecar reports about the consumers behind it.

use countersign_model::Serial;
use countersign_model::spiffe_id::MAX_TRUST_DOMAIN_BYTES;
use countersign_proto::convert::time::read_optional_timestamp;
use countersign_proto::mesh;
use jiff::Timestamp;

/// Most consumers of one node.
pub(super) const MAX_CONSUMERS: usize = 4_096;
/// Longest name of a bundle, in bytes: the ID of the longest trust domain.
const MAX_RESOURCE_BYTES: usize = "spiffe://".len() + MAX_TRUST_DOMAIN_BYTES;
/// Longest ID of a consumer: a process, and the bundle that it consumes.
const MAX_ID_BYTES: usize = MAX_PROCESS_BYTES + MAX_RESOURCE_BYTES;
/// What a sidecar calls a process: a kind, two numbers of at most 20 digits, colons.
const MAX_PROCESS_BYTES: usize = 64;
/// Longest version of a bundle. Ours are hashes of 32 hex digits.
const MAX_VERSION_BYTES: usize = 128;
/// Most serials of one consumer: operators see of a caller with many identities the first.
const MAX_SERIALS: usize = 8;

/// A report that is not believed: its sender breaks a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// Too many consumers.
    #[error("a node reports at most {MAX_CONSUMERS} consumers")]
    TooMany,
    /// A text that is too long.
    #[error(
        "a consumer's ID is at most {MAX_ID_BYTES} bytes long, its resource {MAX_RESOURCE_BYTES}, \
         its version {MAX_VERSION_BYTES}"
    )]
    TooLong,
    /// A text that could forge a line where operators read it.
    #[error("a consumer's texts are printable ASCII")]
    Unprintable,
    /// A kind that this version does not know: it must not count as harmless.
    #[error("a consumer is of an unknown kind")]
    Kind,
    /// More serials of one consumer than are told.
    #[error("a consumer has at most {MAX_SERIALS} serials")]
    TooManySerials,
    /// A serial that cannot be one of ours.
    #[error("a consumer has a serial that is not one of ours")]
    Serial,
    /// A time that is none.
    #[error("a consumer has a malformed time")]
    Time,
}

/// How a consumer proves that it has a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportedKind {
    /// The sidecar's own proxy: its stream's acknowledgement says the same.
    Proxy,
    /// An Envoy: it acknowledges.
    Envoy,
    /// A Workload API stream: it counts as delivered after a grace.
    WorkloadApi,
}

impl ReportedKind {
    /// The word used on the command line and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Proxy => "proxy",
            Self::Envoy => "envoy",
            Self::WorkloadApi => "workload_api",
        }
    }
}

/// One consumer behind a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reported {
    /// Unique within the node.
    pub id: String,
    /// What it is.
    pub kind: ReportedKind,
    /// SDS name of the bundle that it consumes.
    pub resource: String,
    /// The bundle that it acknowledged or was delivered.
    pub bundle_version: Option<String>,
    /// Whether its stream is open.
    pub connected: bool,
    /// NotAfter of the newest credential it was given.
    pub credential_not_after: Option<Timestamp>,
    /// When the bundle was delivered; never later than when we heard of it.
    pub delivered_at: Option<Timestamp>,
    /// The certificates that it acknowledged or was delivered, the first of them.
    pub serials: Vec<Serial>,
    /// When we heard that its stream is open, or is not.
    pub since: Timestamp,
    /// When we heard that it has the bundle.
    pub bundle_since: Timestamp,
}

impl Reported {
    /// Takes over since when what is still so has been so.
    pub(super) fn follow(&mut self, before: &Self) {
        if self.connected == before.connected {
            self.since = before.since;
        }
        if self.bundle_version == before.bundle_version {
            self.bundle_since = before.bundle_since;
        }
    }

    /// Whether it validates with a bundle. The proxy's own acknowledgement is that of the stream, and
    /// a subscription that takes no bundle, as an Envoy's to its certificate, validates nobody.
    pub fn validates(&self) -> bool {
        match self.kind {
            ReportedKind::Proxy => false,
            ReportedKind::Envoy => !self.resource.is_empty(),
            ReportedKind::WorkloadApi => true,
        }
    }

    /// Reads a whole report that arrived at `now`.
    ///
    /// # Errors
    /// A bound or a rule that the report breaks; nothing of it is used then.
    pub fn read(report: mesh::ConsumerReport, now: Timestamp) -> Result<Vec<Self>, ReportError> {
        if report.consumers.len() > MAX_CONSUMERS {
            return Err(ReportError::TooMany);
        }
        let consumers = report.consumers.into_iter();
        consumers.map(|consumer| Self::one(consumer, now)).collect()
    }

    fn one(consumer: mesh::Consumer, now: Timestamp) -> Result<Self, ReportError> {
        let kind = match consumer.kind() {
            mesh::consumer::Kind::Proxy => ReportedKind::Proxy,
            mesh::consumer::Kind::Envoy => ReportedKind::Envoy,
            mesh::consumer::Kind::WorkloadApi => ReportedKind::WorkloadApi,
            mesh::consumer::Kind::Unspecified => return Err(ReportError::Kind),
        };
        let texts = [
            (&consumer.id, MAX_ID_BYTES),
            (&consumer.resource, MAX_RESOURCE_BYTES),
            (&consumer.bundle_version, MAX_VERSION_BYTES),
        ];
        if texts.iter().any(|(text, most)| text.len() > *most) {
            return Err(ReportError::TooLong);
        }
        if !texts.iter().all(|(text, _)| is_printable(text)) {
            return Err(ReportError::Unprintable);
        }
        if consumer.serials.len() > MAX_SERIALS {
            return Err(ReportError::TooManySerials);
        }
        let serials = consumer
            .serials
            .iter()
            .map(|bytes| Serial::from_bytes(bytes));
        let serials = serials.collect::<Result<_, _>>();
        let time = |at| read_optional_timestamp("consumer", at).map_err(|_| ReportError::Time);
        Ok(Self {
            kind,
            credential_not_after: time(consumer.credential_not_after)?,
            delivered_at: time(consumer.delivered_at)?.map(|at| at.min(now)),
            id: consumer.id,
            resource: consumer.resource,
            bundle_version: Some(consumer.bundle_version).filter(|version| !version.is_empty()),
            connected: consumer.connected,
            serials: serials.map_err(|_| ReportError::Serial)?,
            since: now,
            bundle_since: now,
        })
    }
}

/// Whether a terminal shows this text and does nothing else with it.
pub(super) fn is_printable(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b' '..=b'~'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn consumer(id: &str) -> mesh::Consumer {
        mesh::Consumer {
            id: id.to_owned(),
            kind: mesh::consumer::Kind::Envoy.into(),
            ..mesh::Consumer::default()
        }
    }

    fn read(consumers: Vec<mesh::Consumer>) -> Result<Vec<Reported>, ReportError> {
        Reported::read(mesh::ConsumerReport { consumers }, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn bounds_of_a_report_are_exact() {
        assert!(read(vec![consumer("a"); MAX_CONSUMERS]).is_ok());
        let many = read(vec![consumer("a"); MAX_CONSUMERS + 1]);
        assert_eq!(many, Err(ReportError::TooMany));
        assert!(read(vec![consumer(&"a".repeat(MAX_ID_BYTES))]).is_ok());
        let long = read(vec![consumer(&"a".repeat(MAX_ID_BYTES + 1))]);
        assert_eq!(long, Err(ReportError::TooLong));
    }

    /// As a sidecar writes it: `envoy:PID:START:NAME`, with the largest numbers that there are.
    #[test]
    fn the_longest_trust_domain_can_be_reported() {
        let bundle = format!("spiffe://{}", "a".repeat(MAX_TRUST_DOMAIN_BYTES));
        for kind in ["envoy", "workload", "workload-bundles"] {
            let mut longest = consumer(&format!("{kind}:{}:{}:{bundle}", u32::MAX, u64::MAX));
            longest.resource.clone_from(&bundle);
            longest.bundle_version = "0".repeat(32);
            assert_eq!(read(vec![longest]).unwrap()[0].resource, bundle);
        }
    }

    #[test]
    fn serials_of_a_consumer_are_few_and_ours() {
        let with = |serials: Vec<Vec<u8>>| mesh::Consumer {
            serials,
            ..consumer("a")
        };
        let serial = Serial::new(0x01_0000, 7, [1; 8]).unwrap();
        let bytes = serial.as_bytes().to_vec();
        let most = read(vec![with(vec![bytes.clone(); MAX_SERIALS])]).unwrap();
        assert_eq!(most[0].serials, [serial; MAX_SERIALS]);
        let many = read(vec![with(vec![bytes; MAX_SERIALS + 1])]);
        assert_eq!(many, Err(ReportError::TooManySerials));
        for odd in [vec![], vec![0; 16], vec![1; 17]] {
            assert_eq!(read(vec![with(vec![odd])]), Err(ReportError::Serial));
        }
    }

    #[test]
    fn texts_that_forge_lines_are_refused() {
        for text in ["a\nb", "\u{1b}[2J", "\u{202e}a", "\u{7f}"] {
            assert_eq!(read(vec![consumer(text)]), Err(ReportError::Unprintable));
        }
        assert!(read(vec![consumer("envoy 1: ~ROOTCA")]).is_ok());
    }

    #[test]
    fn unknown_kinds_are_refused() {
        for kind in [0, 4, 99, -1] {
            let mut odd = consumer("a");
            odd.kind = kind;
            assert_eq!(read(vec![odd]), Err(ReportError::Kind), "{kind}");
        }
    }

    #[test]
    fn a_delivery_in_the_future_counts_from_now() {
        let mut early = consumer("a");
        early.delivered_at = Some(prost_types::Timestamp {
            seconds: 4_000_000_000,
            nanos: 0,
        });
        let read = read(vec![early]).unwrap();
        assert_eq!(read[0].delivered_at, Some(Timestamp::UNIX_EPOCH));
    }
}
