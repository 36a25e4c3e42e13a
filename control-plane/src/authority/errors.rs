//! What failures inside mean to a caller: denied, or unavailable for now.

use super::{AuthorityError, Denied};
use crate::ca::keys::KeyError;
use crate::ca::slots::SlotError;
use crate::issue::PrepareError;
use crate::issue::lint::Finding;
use crate::store::{DataDirError, StoreError};

impl From<StoreError> for AuthorityError {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<KeyError> for AuthorityError {
    fn from(error: KeyError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<DataDirError> for AuthorityError {
    fn from(error: DataDirError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<PrepareError> for AuthorityError {
    fn from(error: PrepareError) -> Self {
        match error {
            PrepareError::Refused(finding) => Self::Denied(finding.into()),
            other => Self::Unavailable(other.to_string()),
        }
    }
}

impl From<Finding> for Denied {
    fn from(finding: Finding) -> Self {
        Self {
            code: finding.rule,
            message: finding.to_string(),
            remedy: "enrol a fresh key of an accepted kind: ECDSA P-256 is the default",
        }
    }
}

impl From<SlotError> for AuthorityError {
    fn from(error: SlotError) -> Self {
        let (code, remedy) = match error {
            SlotError::WrongState => ("ca_wrong_state", "see `countersign ca status`"),
            SlotError::AlreadyPrepared => ("root_prepared", "activate the prepared root first"),
            SlotError::OtherBundle => (
                "gate_of_other_bundle",
                "wait until every consumer has acknowledged the present bundle",
            ),
            SlotError::Full => ("too_many_cas", "wait until old certificates have expired"),
        };
        Self::Denied(Denied {
            code,
            message: error.to_string(),
            remedy,
        })
    }
}
