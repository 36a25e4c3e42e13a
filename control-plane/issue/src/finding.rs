//! What a rule found, in a certificate or in its key.

use countersign_refusal::Denied;

/// A rule that a certificate or its key breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem} ({section})")]
pub struct Finding {
    /// Stable name of the rule.
    pub rule: &'static str,
    /// What is wrong.
    pub problem: &'static str,
    /// Where the standard says so.
    pub section: &'static str,
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

/// `Ok` where a rule holds.
pub(crate) fn require(
    holds: bool,
    rule: &'static str,
    problem: &'static str,
    section: &'static str,
) -> Result<(), Finding> {
    let finding = Finding {
        rule,
        problem,
        section,
    };
    if holds { Ok(()) } else { Err(finding) }
}
