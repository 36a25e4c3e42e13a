//! What failures inside mean to a caller: denied, or unavailable for now.

use countersign_ca::import::ImportError;
use countersign_ca::key::KeyError;
use countersign_ca::log::NotLogged;
use countersign_ca::slots::SlotError;
use countersign_issue::key::block_list::BlockListError;
use countersign_issue::{Finding, PrepareError};
use countersign_model::entropy::NoEntropy;
use countersign_refusal::{Denied, Unavailable};
use countersign_store::{DataDirError, StoreError};
use countersign_tlog::LogError;

use super::AuthorityError;

impl AuthorityError {
    /// Whether there is no room for another key, of all or of one holder, until certificates end.
    pub fn is_no_room(&self) -> bool {
        matches!(self, Self::TooManyKeys { .. } | Self::KeyShareTaken { .. })
    }
}

impl From<LogError> for AuthorityError {
    fn from(error: LogError) -> Self {
        let why = match &error {
            LogError::Stopped => Unavailable::stopped,
            LogError::Damaged(_) | LogError::Foreign(_) | LogError::ArchiveBehind { .. } => {
                Unavailable::damaged
            }
            LogError::Refused(_)
            | LogError::NotArchived(_)
            | LogError::Unreadable(_)
            | LogError::TooLong => Unavailable::retry,
        };
        Self::Unavailable(why(error))
    }
}

impl From<NoEntropy> for AuthorityError {
    fn from(error: NoEntropy) -> Self {
        Unavailable::retry(error).into()
    }
}

impl From<StoreError> for AuthorityError {
    fn from(error: StoreError) -> Self {
        let why = match &error {
            StoreError::Conflict => return Self::Overtaken,
            StoreError::Stopped => Unavailable::stopped,
            StoreError::Damaged { .. } | StoreError::Schema(_) => Unavailable::damaged,
            StoreError::Database(_)
            | StoreError::Batch(_)
            | StoreError::NameTaken { .. }
            | StoreError::FencedOut { .. }
            | StoreError::EntryExists { .. }
            | StoreError::TooNew { .. }
            | StoreError::NoOther
            | StoreError::NoLog => Unavailable::retry,
        };
        Self::Unavailable(why(error))
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
            damaged @ KeyError::Damaged(_) => Unavailable::damaged(damaged).into(),
            other => Unavailable::retry(other).into(),
        }
    }
}

impl From<DataDirError> for AuthorityError {
    fn from(error: DataDirError) -> Self {
        match error {
            DataDirError::Locked(path) => Self::Denied(Denied {
                code: "data_dir_in_use",
                message: format!("{} is in use by another control plane", path.display()),
                remedy: "stop that process, or set another data_dir",
            }),
            other => Unavailable::retry(other).into(),
        }
    }
}

impl From<NotLogged> for AuthorityError {
    fn from(error: NotLogged) -> Self {
        match error {
            NotLogged::Prepare(error) => error.into(),
            other => Unavailable::retry(other).into(),
        }
    }
}

impl From<PrepareError> for AuthorityError {
    fn from(error: PrepareError) -> Self {
        match error {
            PrepareError::Refused(finding) => finding.into(),
            other => Unavailable::retry(other).into(),
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

impl From<Finding> for AuthorityError {
    fn from(finding: Finding) -> Self {
        Self::Denied(finding.into())
    }
}

impl From<BlockListError> for AuthorityError {
    fn from(error: BlockListError) -> Self {
        Unavailable::retry(error).into()
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
