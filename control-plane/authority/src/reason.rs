//! Why an operator did something, as the issuance log keeps it, and who it was.

use countersign_refusal::Denied;

/// Longest reason, in bytes: a sentence or two, and the number of a ticket.
pub(super) const MAX_REASON_BYTES: usize = 512;

/// A reason that may be logged and shown: not empty, bounded, of one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason(String);

impl Reason {
    /// Reads a reason.
    ///
    /// # Errors
    /// Empty, too long, or with control characters.
    pub fn new(text: &str) -> Result<Self, Denied> {
        let text = text.trim();
        let fits = (1..=MAX_REASON_BYTES).contains(&text.len());
        if fits && !text.contains(char::is_control) {
            return Ok(Self(text.to_owned()));
        }
        Err(Denied {
            code: "reason_invalid",
            message: format!(
                "a reason is 1 to {MAX_REASON_BYTES} bytes of one line, without control characters"
            ),
            remedy: "say in a sentence why, such as --reason \"key copied, ticket 4711\"",
        })
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Who did something, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    /// Why.
    pub reason: Reason,
    /// Who, as the issuance log names operators.
    pub operator: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_of_a_reason_are_exact() {
        assert_eq!(Reason::new(" key copied ").unwrap().as_str(), "key copied");
        assert!(Reason::new(&"x".repeat(MAX_REASON_BYTES)).is_ok());
        for odd in [
            "",
            "  ",
            "two\nlines",
            "\u{1b}[2J",
            &"x".repeat(MAX_REASON_BYTES + 1),
        ] {
            assert_eq!(Reason::new(odd).unwrap_err().code, "reason_invalid");
        }
    }
}
