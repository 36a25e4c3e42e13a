//! `[svid]`: what is issued to nodes and workloads.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use countersign_cli::Reader;
use countersign_model::RenewalWindow;
use countersign_model::schedule::DEFAULT_RENEW_AT;
use countersign_registry::rules::TTL;
use serde::Serialize;

use countersign_issue::profile::LEAF_BACKDATE;

const HOUR: Duration = Duration::from_secs(3_600);
const MINUTE: Duration = Duration::from_secs(60);

/// Lifetime and renewal where a registration names nothing else, and the bounds of all of them.
#[derive(Clone, Debug, Serialize)]
pub struct Svid {
    /// `x509_ttl`: lifetime of an X.509-SVID.
    #[serde(rename = "x509_ttl_secs", serialize_with = "super::whole_secs")]
    pub x509_ttl: Duration,
    /// `min_ttl`: the shortest lifetime that a registration may name.
    #[serde(rename = "min_ttl_secs", serialize_with = "super::whole_secs")]
    pub min_ttl: Duration,
    /// `max_ttl`: the longest lifetime that a registration may name.
    #[serde(rename = "max_ttl_secs", serialize_with = "super::whole_secs")]
    pub max_ttl: Duration,
    /// `backdate`: how far NotBefore lies before the time of issue.
    #[serde(rename = "backdate_secs", serialize_with = "super::whole_secs")]
    pub backdate: Duration,
    /// `renew_at`: the share of the lifetime at whose end a renewal is due.
    pub renew_at: RenewalWindow,
    /// `blocked_keys`: a file with SHA-256 of keys that are never certified.
    pub blocked_keys: Option<PathBuf>,
}

impl Svid {
    pub(super) fn read(reader: &mut Reader) -> Self {
        let renew_at = reader.float("svid.renew_at", DEFAULT_RENEW_AT, 0.01..=0.9);
        let svid = Self {
            x509_ttl: whole(reader, "svid.x509_ttl", HOUR, TTL),
            min_ttl: whole(reader, "svid.min_ttl", *TTL.start(), TTL),
            max_ttl: whole(reader, "svid.max_ttl", *TTL.end(), TTL),
            backdate: whole(reader, "svid.backdate", MINUTE, LEAF_BACKDATE),
            renew_at: RenewalWindow::new(renew_at).unwrap_or_default(),
            blocked_keys: reader.path("svid.blocked_keys", None),
        };
        if !(svid.min_ttl..=svid.max_ttl).contains(&svid.x509_ttl) {
            reader.mistake(
                "svid.x509_ttl",
                "is outside svid.min_ttl and svid.max_ttl",
                "choose a lifetime between the two, or move the bounds",
            );
        }
        svid
    }
}

/// Certificates speak in whole seconds.
pub(super) fn whole(
    reader: &mut Reader,
    key: &str,
    default: Duration,
    bounds: RangeInclusive<Duration>,
) -> Duration {
    let duration = reader.duration(key, default, bounds);
    if duration.subsec_nanos() != 0 {
        reader.mistake(
            key,
            "is not in whole seconds",
            "write it in seconds, such as \"90s\"",
        );
    }
    duration
}
