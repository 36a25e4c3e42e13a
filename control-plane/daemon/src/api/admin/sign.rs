//! Signing by hand: a certification request in, a chain out.

use countersign_admission::{Caller, Class, Refused};
use countersign_authority::AuthorityError;
use countersign_issue::request::{RequestError, Requested};
use countersign_proto::admin as wire;
use countersign_proto::convert::time::timestamp;
use countersign_refusal::Denied;
use tonic::{Response, Status};

use super::Operator;
use super::refusing::{described, refused, spiffe_id};
use crate::plane::Plane;

pub(super) async fn manual(
    plane: &Plane,
    operator: Operator,
    request: wire::SignRequest,
) -> Result<Response<wire::SignResponse>, Status> {
    let id = spiffe_id("id", &request.id)?;
    // Before the request is read: its signature is checked there.
    let admitted = plane
        .signing
        .enter(&Caller::Operator, || Class::First)
        .await;
    let _place = admitted.map_err(|refused| sent_away(&refused))?;
    let now = plane.clock.now();
    let requested = Requested::read(&request.csr);
    let requested = requested.map_err(|error| unreadable(plane, operator, error))?;
    let signed = plane.authority.sign_manually(&id, requested, now).await;
    let signed = signed.map_err(|error| {
        if let AuthorityError::Denied(denied) = &error {
            tracing::warn!(spiffe_id = %id, %operator, code = denied.code, reason = %denied, "signing refused");
        }
        refused(plane, operator, &error)
    })?;
    Ok(Response::new(wire::SignResponse {
        chain: signed.chain.iter().map(|der| der.to_vec()).collect(),
        serial: signed.serial.to_string(),
        issued_at: Some(timestamp(signed.lifetime.issued_at)),
        not_after: Some(timestamp(signed.lifetime.not_after)),
    }))
}

fn sent_away(refused: &Refused) -> Status {
    let denied = Denied::from(refused);
    let status = Status::resource_exhausted(&denied.message);
    described(status, denied.code, denied.remedy)
}

/// The operator is known, so the issuance log tells of it as of any refusal.
fn unreadable(plane: &Plane, operator: Operator, error: RequestError) -> Status {
    let denied = Denied {
        code: error.code(),
        message: error.to_string(),
        remedy: error.remedy(),
    };
    let now = plane.clock.now();
    plane.authority.refused(&operator.to_string(), &denied, now);
    let status = Status::invalid_argument(denied.message);
    described(status, denied.code, denied.remedy)
}
