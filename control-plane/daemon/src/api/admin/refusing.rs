//! A refusal on its way to an operator: gRPC status, stable code and remedy, and its entry in the issuance
//! log.

use countersign_authority::{Act, AuthorityError, Reason};
use countersign_model::SpiffeId;
use countersign_proto::{CODE_KEY, REMEDY_KEY};
use tonic::Status;
use tonic::metadata::MetadataValue;

use super::operator::Operator;
use crate::plane::Plane;

/// An operator asked for something that is not granted: the issuance log will tell.
pub(super) fn refused(plane: &Plane, operator: Operator, error: &AuthorityError) -> Status {
    if let AuthorityError::Denied(denied) = error {
        let (caller, now) = (operator.to_string(), plane.clock.now());
        plane.authority.refused(&caller, denied, now);
    }
    status(error)
}

/// Who does something, and why.
pub(super) fn act(plane: &Plane, operator: Operator, reason: &str) -> Result<Act, Status> {
    let reason = Reason::new(reason).map_err(|denied| refused(plane, operator, &denied.into()))?;
    Ok(Act {
        reason,
        operator: operator.to_string(),
    })
}

/// The one mapping from the authority's errors to gRPC.
pub(super) fn status(error: &AuthorityError) -> Status {
    match error {
        AuthorityError::Denied(denied) => described(
            Status::permission_denied(&denied.message),
            denied.code,
            denied.remedy,
        ),
        AuthorityError::TooManyKeys { .. } => described(
            Status::resource_exhausted(error.to_string()),
            "too_many_keys",
            "wait until certificates have ended; see countersign_certified_keys",
        ),
        AuthorityError::KeyShareTaken { .. } => described(
            Status::resource_exhausted(error.to_string()),
            "key_share_taken",
            "wait until certificates of this identity have ended",
        ),
        AuthorityError::Unavailable(why) => described(
            Status::unavailable(error.to_string()),
            "unavailable",
            why.remedy(),
        ),
        other => described(
            Status::unavailable(other.to_string()),
            "unavailable",
            "try again; the log of the control plane says more",
        ),
    }
}

/// A request that does not read.
pub(super) fn invalid(code: &'static str, message: impl Into<String>) -> Status {
    let status = Status::invalid_argument(message);
    described(status, code, "see --help of this verb")
}

pub(super) fn described(mut status: Status, code: &'static str, remedy: &'static str) -> Status {
    for (key, value) in [(CODE_KEY, code), (REMEDY_KEY, remedy)] {
        // A value that is no header text is left out: the message still says what happened.
        if let Ok(value) = MetadataValue::try_from(value) {
            status.metadata_mut().insert(key, value);
        }
    }
    status
}

pub(super) fn spiffe_id(field: &str, text: &str) -> Result<SpiffeId, Status> {
    SpiffeId::new(text).map_err(|error| invalid(error.rule.code(), format!("{field}: {error}")))
}
