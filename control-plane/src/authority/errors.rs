//! What failures inside mean to a caller: denied, or unavailable for now.

use countersign_tlog::LogError;

use super::{AuthorityError, Denied};
use crate::ca::import::ImportError;
use crate::ca::keys::KeyError;
use crate::ca::slots::SlotError;
use crate::issue::PrepareError;
use crate::issue::key::block_list::BlockListError;
use crate::issue::lint::Finding;
use crate::store::{DataDirError, StoreError};

impl AuthorityError {
    /// Whether there is no room for another key, of all or of one holder, until certificates end.
    pub(crate) fn is_no_room(&self) -> bool {
        matches!(self, Self::TooManyKeys { .. } | Self::KeyShareTaken { .. })
    }
}

impl From<LogError> for AuthorityError {
    fn from(error: LogError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<StoreError> for AuthorityError {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<KeyError> for AuthorityError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::NotConfigured(_) => Self::Denied(Denied {
                code: "key_store_not_configured",
                message: format!("{error}, and keys in use are there"),
                remedy: "describe it in the configuration until they are replaced",
            }),
            other => Self::Unavailable(other.to_string()),
        }
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
            PrepareError::Refused(finding) => finding.into(),
            other => Self::Unavailable(other.to_string()),
        }
    }
}

impl From<Finding> for Denied {
    fn from(finding: Finding) -> Self {
        Self {
            code: finding.rule,
            message: finding.to_string(),
            remedy: remedy(finding.rule),
        }
    }
}

impl From<ImportError> for AuthorityError {
    fn from(error: ImportError) -> Self {
        Self::Denied(Denied {
            code: error.rule,
            message: error.to_string(),
            remedy: error.remedy,
        })
    }
}

/// What mends the breach of a rule. Only keys and lifetimes are chosen by others: what else a
/// certificate says, this process wrote.
fn remedy(rule: &str) -> &'static str {
    match rule {
        "key_kind" => "enrol ECDSA P-256 (the default) or P-384, or RSA from 2048 to 8192 bits",
        "key_weak" => "make a fresh key with a maintained library: ECDSA P-256 is the default",
        "key_known_bad" => "make a fresh key: this one is in everybody's hands",
        "key_of_a_ca" => "make a key of your own",
        "key_blocked" => "make a fresh key, or ask the operator why this one is blocked",
        "ttl" => "choose a lifetime within svid.min_ttl and svid.max_ttl, or move these bounds",
        _ => "report this message: the control plane wrote a certificate that its rules refuse",
    }
}

impl From<Finding> for AuthorityError {
    fn from(finding: Finding) -> Self {
        Self::Denied(finding.into())
    }
}

impl From<BlockListError> for AuthorityError {
    fn from(error: BlockListError) -> Self {
        Self::Unavailable(error.to_string())
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
