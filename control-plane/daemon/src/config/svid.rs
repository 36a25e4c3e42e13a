//! `[svid]`: what is issued to nodes and workloads.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use countersign_cli::{Key, Reader};
use countersign_model::RenewalWindow;
use countersign_model::schedule::DEFAULT_RENEW_AT;
use countersign_registry::rules::TTL;
use serde::Serialize;

use countersign_issue::profile::LEAF_BACKDATE;

const X509_TTL: Key = Key::new(
    "svid.x509_ttl",
    "Lifetime of an X.509-SVID whose registration names none, in whole seconds.",
);
const MIN_TTL: Key = Key::new(
    "svid.min_ttl",
    "The shortest lifetime that a registration may name.",
);
const MAX_TTL: Key = Key::new(
    "svid.max_ttl",
    "The longest lifetime that a registration may name.",
);
const BACKDATE: Key = Key::new(
    "svid.backdate",
    "How far NotBefore lies before the time of issue, for peers whose clocks are late.",
);
const RENEW_AT: Key = Key::new(
    "svid.renew_at",
    "The share of its lifetime after which an SVID is renewed; each is renewed at a moment between \
     0.8 times that and that, so that a fleet does not renew at once.",
);
const BLOCKED_KEYS: Key = Key::new(
    "svid.blocked_keys",
    "A file with keys that are never certified: SHA-256 over the public key, one a line.",
);

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
        let renew_at = reader.float(&RENEW_AT, DEFAULT_RENEW_AT, 0.01..=0.9);
        let svid = Self {
            x509_ttl: whole(reader, &X509_TTL, HOUR, TTL),
            min_ttl: whole(reader, &MIN_TTL, *TTL.start(), TTL),
            max_ttl: whole(reader, &MAX_TTL, *TTL.end(), TTL),
            backdate: whole(reader, &BACKDATE, MINUTE, LEAF_BACKDATE),
            renew_at: RenewalWindow::new(renew_at).unwrap_or_default(),
            blocked_keys: reader.path(&BLOCKED_KEYS, None),
        };
        if !(svid.min_ttl..=svid.max_ttl).contains(&svid.x509_ttl) {
            reader.mistake(
                X509_TTL,
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
    key: &Key,
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
