//! What an auditor who could not judge tells the user: code, exit and what to do.

use countersign_audit::AuditError;
use countersign_cli::{Exit, Failure};

/// The failure of an error.
#[allow(
    clippy::needless_pass_by_value,
    reason = "used as a function of map_err"
)]
pub(super) fn failure(error: AuditError) -> Failure {
    let (exit, code) = judged(&error);
    Failure::new(exit, code, error.to_string(), remedy(&error))
}

fn judged(error: &AuditError) -> (Exit, &'static str) {
    match error {
        AuditError::NoCheckpoint { .. } => (Exit::Usage, "no_checkpoint"),
        AuditError::Unlisted { .. } => (Exit::Usage, "log_unreadable"),
        AuditError::NotAKey { .. }
        | AuditError::KeyUnread { .. }
        | AuditError::TooFewKeys { .. } => (Exit::Usage, "key_unusable"),
        AuditError::Unsound(_) => (Exit::No, "log_unsound"),
        AuditError::NotCovered { .. }
        | AuditError::Removed { .. }
        | AuditError::NotThatCertificate { .. } => (Exit::Denied, "not_in_the_log"),
        AuditError::ProofUnread { .. } | AuditError::NotAProof { .. } => {
            (Exit::Usage, "proof_unreadable")
        }
        AuditError::ProofRefused(_) => (Exit::No, "proof_refused"),
    }
}

fn remedy(error: &AuditError) -> &'static str {
    match error {
        AuditError::NoCheckpoint { .. } => {
            "give the folder of a log with --log; a new log has a checkpoint once it published its \
             first entries"
        }
        AuditError::Unlisted { .. } => "run this as the control plane's user",
        AuditError::NotAKey { .. } => "give the line of the log's key.vkey: name+id+base64",
        AuditError::KeyUnread { .. } => "give the log's verifier key with --key",
        AuditError::TooFewKeys { .. } => {
            "give a --key for each log, in the order of the logs, or none"
        }
        AuditError::Unsound(_) => "run countersign audit verify on this log",
        AuditError::NotCovered { .. } => "wait for the next checkpoint, or name the log with --log",
        AuditError::Removed { .. } => "ask for a proof while the entry is retained",
        AuditError::NotThatCertificate { .. } => {
            "the serial is of another log, or of no log of ours"
        }
        AuditError::ProofUnread { .. } => "check the path",
        AuditError::NotAProof { .. } => "give a .tlog-proof of audit prove",
        AuditError::ProofRefused(_) => "trust neither the proof nor who gave it",
    }
}
