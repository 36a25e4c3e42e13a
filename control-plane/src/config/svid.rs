//! `[svid]`: what is issued to nodes and workloads.

use std::time::Duration;

use countersign_cli::Reader;
use countersign_model::RenewalWindow;
use countersign_model::schedule::DEFAULT_RENEW_AT;
use serde::Serialize;

use crate::registry::rules::TTL;

const HOUR: Duration = Duration::from_secs(3_600);

/// Lifetime and renewal where a registration names nothing else.
#[derive(Clone, Debug, Serialize)]
pub struct Svid {
    /// `x509_ttl`: lifetime of an X.509-SVID.
    #[serde(rename = "x509_ttl_secs", serialize_with = "super::whole_secs")]
    pub x509_ttl: Duration,
    /// `renew_at`: the share of the lifetime at whose end a renewal is due.
    pub renew_at: RenewalWindow,
}

impl Svid {
    pub(super) fn read(reader: &mut Reader) -> Self {
        let renew_at = reader.float("svid.renew_at", DEFAULT_RENEW_AT, 0.01..=0.9);
        Self {
            x509_ttl: whole(reader),
            renew_at: RenewalWindow::new(renew_at).unwrap_or_default(),
        }
    }
}

/// Certificates speak in whole seconds.
fn whole(reader: &mut Reader) -> Duration {
    let ttl = reader.duration("svid.x509_ttl", HOUR, TTL);
    if ttl.subsec_nanos() != 0 {
        reader.mistake(
            "svid.x509_ttl",
            "is not in whole seconds",
            "write it in seconds, such as \"90s\"",
        );
    }
    ttl
}
