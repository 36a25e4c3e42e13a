//! The inventory, for operators.

use std::sync::Arc;

use countersign_inventory::{Certificate, Filter, Lineage, Validity};
use countersign_model::SerialPrefix;
use countersign_proto::admin as wire;
use countersign_proto::admin::list_certificates_request::Validity as WireValidity;
use countersign_proto::convert::time::{read_duration, timestamp};
use jiff::SignedDuration;
use tonic::{Response, Status};

use super::Lineages;
use super::refusing::{invalid, status};
use crate::plane::Plane;

/// The lineages that pass the filter, by ID.
pub(super) fn list(
    plane: &Arc<Plane>,
    asked: wire::ListCertificatesRequest,
) -> Result<Response<Lineages>, Status> {
    let filter = filter(asked)?;
    let now = plane.clock.now();
    let listed = plane.authority.lineages(&filter, now);
    let dns = plane.authority.dns_names(&listed);
    let messages = listed.into_iter().zip(dns).map(|(it, dns)| {
        Ok(wire::CertificateLineage {
            dns,
            ..lineage(&it)
        })
    });
    Ok(Response::new(Box::pin(tokio_stream::iter(messages))))
}

/// One certificate, its lineage and those before it.
pub(super) async fn show(
    plane: &Plane,
    asked: &wire::ShowCertificateRequest,
) -> Result<Response<wire::ShowCertificateResponse>, Status> {
    let serial = asked.serial.parse::<SerialPrefix>();
    let serial = serial.map_err(|error| invalid("invalid_serial", error.to_string()))?;
    let history = usize::try_from(asked.history).unwrap_or(usize::MAX);
    let shown = plane.authority.certificate(&serial, history).await;
    let shown = shown.map_err(|error| status(&error))?;
    Ok(Response::new(wire::ShowCertificateResponse {
        lineage: shown.lineage.as_ref().map(lineage),
        certificate: Some(certificate(&shown.certificate)),
        der: shown.der.unwrap_or_default(),
        history: shown.history.iter().map(certificate).collect(),
        voided: shown.voided,
    }))
}

fn filter(asked: wire::ListCertificatesRequest) -> Result<Filter, Status> {
    let validity = match asked.validity() {
        WireValidity::Valid => Validity::Valid,
        WireValidity::Expired => Validity::Expired,
        WireValidity::Any => Validity::Any,
    };
    let criticality = match asked.criticality.as_str() {
        "" => None,
        text => {
            let parsed = text.parse();
            Some(parsed.map_err(|e: &str| invalid("invalid_criticality", e))?)
        }
    };
    let ends_within = asked.ends_within.map(|it| {
        let read = read_duration("ends_within", Some(it));
        let read = read.map_err(|error| invalid("invalid_ends_within", error.to_string()))?;
        SignedDuration::try_from(read)
            .map_err(|error| invalid("invalid_ends_within", error.to_string()))
    });
    Ok(Filter {
        id: asked.id,
        under: asked.under,
        node: asked.node,
        owner: asked.owner,
        criticality,
        profile: asked.profile,
        issuer: asked.issuer,
        labels: asked.labels.into_iter().collect(),
        ends_within: ends_within.transpose()?,
        validity,
    })
}

fn lineage(it: &Lineage) -> wire::CertificateLineage {
    wire::CertificateLineage {
        lineage: it.id().to_string(),
        id: it.spiffe_id.to_string(),
        node: it.node.to_string(),
        entitlement: it.entitlement.to_string(),
        profile: it.profile.as_str().to_owned(),
        owner: it.account.owner.clone(),
        criticality: it.account.criticality.as_str().to_owned(),
        labels: it.account.labels.clone().into_iter().collect(),
        since: Some(timestamp(it.since)),
        certificates: it.certificates,
        newest: Some(certificate(&it.newest)),
        dns: Vec::new(),
    }
}

fn certificate(it: &Certificate) -> wire::Certificate {
    wire::Certificate {
        serial: it.serial.to_string(),
        sha256: it.sha256.map(Vec::from).unwrap_or_default(),
        spki_sha256: it.spki_sha256.to_vec(),
        issuer: it.issuer.to_string(),
        issued_at: Some(timestamp(it.issued_at)),
        not_after: Some(timestamp(it.not_after)),
        log_index: it.serial.index(),
    }
}
