//! The label values that series can have: closed sets.

use prometheus_client::encoding::EncodeLabelSet;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was done.
    Granted,
    /// Policy said no.
    Refused,
    /// It could not be done now.
    Failed,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ResultLabel {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ReasonLabel {
    pub(super) reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RoleLabel {
    pub(super) role: &'static str,
}

impl From<Outcome> for ResultLabel {
    fn from(outcome: Outcome) -> Self {
        let result = match outcome {
            Outcome::Granted => "granted",
            Outcome::Refused => "refused",
            Outcome::Failed => "failed",
        };
        Self { result }
    }
}
