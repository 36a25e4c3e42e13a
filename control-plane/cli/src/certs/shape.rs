//! The JSON of lineages and certificates.

use std::collections::BTreeMap;

use countersign_cli::{Exit, Failure};
use countersign_proto::admin as wire;
use countersign_verify::certificate_pem;
use serde::Serialize;

use crate::client::time;

#[derive(Debug, Serialize)]
pub(super) struct Lineage {
    pub(super) lineage: String,
    pub(super) id: String,
    pub(super) node: Option<String>,
    pub(super) entitlement: Option<String>,
    pub(super) profile: String,
    pub(super) owner: Option<String>,
    pub(super) criticality: String,
    pub(super) labels: BTreeMap<String, String>,
    /// Of its registration, as long as there is one.
    pub(super) dns: Vec<String>,
    pub(super) since: Option<jiff::Timestamp>,
    pub(super) certificates: u64,
    pub(super) newest: Certificate,
}

#[derive(Debug, Serialize)]
pub(super) struct Certificate {
    pub(super) serial: String,
    pub(super) log_index: u64,
    pub(super) sha256: Option<String>,
    pub(super) spki_sha256: String,
    pub(super) issuer: String,
    pub(super) issued_at: Option<jiff::Timestamp>,
    pub(super) not_after: Option<jiff::Timestamp>,
}

#[derive(Debug, Serialize)]
pub(super) struct Shown {
    pub(super) certificate: Certificate,
    pub(super) pem: Option<String>,
    /// Nobody was given it.
    pub(super) voided: bool,
    pub(super) lineage: Option<Lineage>,
    pub(super) history: Vec<Certificate>,
}

impl From<wire::CertificateLineage> for Lineage {
    fn from(it: wire::CertificateLineage) -> Self {
        Self {
            lineage: it.lineage,
            id: it.id,
            node: some(it.node),
            entitlement: some(it.entitlement),
            profile: it.profile,
            owner: some(it.owner),
            criticality: it.criticality,
            labels: it.labels.into_iter().collect(),
            dns: it.dns,
            since: time(it.since),
            certificates: it.certificates,
            newest: it.newest.unwrap_or_default().into(),
        }
    }
}

impl From<wire::Certificate> for Certificate {
    fn from(it: wire::Certificate) -> Self {
        Self {
            serial: it.serial,
            log_index: it.log_index,
            sha256: some(hex::encode(it.sha256)),
            spki_sha256: hex::encode(it.spki_sha256),
            issuer: it.issuer,
            issued_at: time(it.issued_at),
            not_after: time(it.not_after),
        }
    }
}

impl From<wire::ShowCertificateResponse> for Shown {
    fn from(it: wire::ShowCertificateResponse) -> Self {
        Self {
            pem: pem(&it).ok(),
            voided: it.voided,
            certificate: it.certificate.unwrap_or_default().into(),
            lineage: it.lineage.map(Lineage::from),
            history: it.history.into_iter().map(Certificate::from).collect(),
        }
    }
}

/// The certificate as PEM (RFC 7468 section 5).
pub(super) fn pem(shown: &wire::ShowCertificateResponse) -> Result<String, Failure> {
    if shown.voided {
        return Err(Failure::new(
            Exit::Denied,
            "voided",
            "this certificate is void: nobody was given it",
            "see `countersign certs list` for those that were given out",
        ));
    }
    if shown.der.is_empty() {
        return Err(Failure::new(
            Exit::Denied,
            "signature_lost",
            "the signature of this certificate was lost when power failed",
            "the to-be-signed certificate is in the log: see `countersign audit`",
        ));
    }
    Ok(certificate_pem(&shown.der))
}

fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}
