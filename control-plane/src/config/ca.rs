//! `[ca]`: lifetimes of the CA certificates.

use std::time::Duration;

use countersign_cli::Reader;
use serde::Serialize;

const DAY: Duration = Duration::from_secs(24 * 3_600);
const SHORTEST: Duration = Duration::from_secs(120);
const LONGEST: Duration = Duration::from_secs(36_500 * 24 * 3_600);

/// An issuing CA lives at least this many SVID lifetimes, so that every SVID fits into the time
/// that its issuer has left.
pub const LIFETIMES_PER_ISSUING_CA: u32 = crate::registry::rules::ISSUING_LIVES;

/// How long CA certificates live.
#[derive(Clone, Debug, Serialize)]
pub struct CaLifetimes {
    /// `root_ttl`.
    #[serde(rename = "root_ttl_secs", serialize_with = "super::whole_secs")]
    pub root_ttl: Duration,
    /// `issuing_ttl`.
    #[serde(rename = "issuing_ttl_secs", serialize_with = "super::whole_secs")]
    pub issuing_ttl: Duration,
}

impl CaLifetimes {
    pub(super) fn read(reader: &mut Reader, x509_ttl: Duration) -> Self {
        let root_ttl = reader.duration("ca.root_ttl", DAY * 3_650, SHORTEST..=LONGEST);
        let issuing_ttl = reader.duration("ca.issuing_ttl", DAY, SHORTEST..=LONGEST);
        if issuing_ttl < x509_ttl * LIFETIMES_PER_ISSUING_CA {
            reader.mistake(
                "ca.issuing_ttl",
                "is shorter than six lifetimes of an SVID",
                "raise ca.issuing_ttl to at least 6 times svid.x509_ttl, or lower svid.x509_ttl",
            );
        }
        if root_ttl < issuing_ttl {
            reader.mistake(
                "ca.root_ttl",
                "is shorter than ca.issuing_ttl: a child never outlives its issuer",
                "raise ca.root_ttl or lower ca.issuing_ttl",
            );
        }
        Self {
            root_ttl,
            issuing_ttl,
        }
    }
}
