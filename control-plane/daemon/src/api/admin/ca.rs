//! The CAs and their key stores, as operators see them; requests and imports of intermediates.

use countersign_authority::{AuthorityInfo, Tiers};
use countersign_proto::admin as wire;
use countersign_proto::convert::time::timestamp;
use rustls_pki_types::CertificateDer;
use tonic::Status;

use super::refusing::{described, invalid, refused};
use super::{Operator, waivers};
use crate::plane::Plane;

/// Most certificates in one import.
const MAX_CERTIFICATES: usize = 8;

/// Every CA, every key store, and who has not acknowledged the newest bundle.
pub(super) fn status(plane: &Plane) -> wire::CaStatusResponse {
    let Tiers {
        roots,
        intermediates,
        issuing,
    } = plane.authority.tiers();
    let bundle = plane.authority.first_bundle();
    let stores = plane.authority.key_stores().into_iter();
    let (waiting, now) = (plane.waiting_for(), plane.clock.now());
    let waivers = plane.authority.waivers(now).into_iter();
    let replica = plane.authority.issuing_replica(now);
    wire::CaStatusResponse {
        roots: roots.iter().map(authority).collect(),
        intermediates: intermediates.iter().map(authority).collect(),
        issuing: issuing.iter().map(authority).collect(),
        bundle_version: bundle.map_or_else(String::new, |(it, _)| it.version().to_owned()),
        waiting_for: waiting.names(),
        waiting_for_more: waiting.more,
        laggards: waivers::laggards(&waiting),
        waivers: waivers.map(waivers::shown).collect(),
        key_stores: stores
            .map(|(kind, condition)| wire::KeyStore {
                store: kind.to_string(),
                state: condition.state.as_str().to_owned(),
                reason: condition.reason,
            })
            .collect(),
        obstacles: plane.authority.obstacles(now),
        replica: replica.name,
        signer: replica.signer.unwrap_or_default(),
        awaits_since: replica.awaits_since.map(timestamp),
        issues_until: replica.issues_until.map(timestamp),
    }
}

pub(super) async fn request(
    plane: &Plane,
    operator: Operator,
) -> Result<wire::RequestCaResponse, Status> {
    let request = plane.authority.ca_request().await;
    let request = request.map_err(|error| refused(plane, operator, &error))?;
    Ok(wire::RequestCaResponse {
        key_id: request.key_id,
        pem: request.pem,
    })
}

pub(super) async fn import(
    plane: &Plane,
    operator: Operator,
    request: wire::ImportCaRequest,
) -> Result<wire::ImportCaResponse, Status> {
    let root = match request.roots.as_slice() {
        [root] => CertificateDer::from(root.clone()),
        roots => {
            let message = format!(
                "--root holds {} certificates, and one is needed",
                roots.len()
            );
            return Err(described(
                Status::invalid_argument(message),
                "import_roots",
                "give the root that signed the intermediate, alone in its file",
            ));
        }
    };
    if request.chain.len() > MAX_CERTIFICATES {
        let message = format!("more than {MAX_CERTIFICATES} certificates");
        return Err(invalid("import_chain", message));
    }
    let chain = request.chain.into_iter().map(CertificateDer::from);
    let now = plane.clock.now();
    let imported = plane.authority.import_ca(chain.collect(), root, now).await;
    let imported = imported.map_err(|error| refused(plane, operator, &error))?;
    plane.fleet.touch();
    let waiting = plane.waiting_for();
    Ok(wire::ImportCaResponse {
        intermediate: Some(authority(&imported)),
        waiting_for: waiting.names(),
        waiting_for_more: waiting.more,
        laggards: waivers::laggards(&waiting),
    })
}

pub(super) fn no_root_yet() -> Status {
    described(
        Status::failed_precondition("there is no root yet, and so no bundle"),
        "no_root",
        "see countersign ca status",
    )
}

/// Writes an authority.
fn authority(it: &AuthorityInfo) -> wire::Authority {
    wire::Authority {
        key_id: it.key_id.clone(),
        subject: it.subject.clone(),
        state: it.state.as_str().to_owned(),
        not_before: Some(timestamp(it.not_before)),
        not_after: Some(timestamp(it.not_after)),
        issued_by: it.issued_by.clone(),
        serial: it.serial.clone(),
        store: it
            .store
            .map_or_else(|| "external".to_owned(), |store| store.to_string()),
        renew_by: it.renew_by.map(timestamp),
        replica: it.replica.clone(),
    }
}
