//! Exit codes and the one error shape: `{"error":{"code","message","remedy"}}` on stderr.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::printable::printable;
use crate::{ConfigError, Mistake};

/// How long the reader of an error may take.
pub const STDERR_DEADLINE: Duration = Duration::from_secs(1);

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
    /// Something needs attention, where that was asked.
    Attention = 5,
    /// A bug of ours.
    Bug = 70,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
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
    /// The mistakes of a configuration file; empty for every other failure.
    pub mistakes: Vec<Mistake>,
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
            mistakes: Vec::new(),
        }
    }

    /// Prints to stderr, as JSON or as text, and gives the exit code.
    pub fn report(&self, json: bool) -> ExitCode {
        let text = if json {
            self.to_json()
        } else {
            self.to_text(colours())
        };
        say(text, io::stderr());
        self.exit.into()
    }

    /// One line: `{"error":{"code","message","remedy"}}`, with `mistakes` for a configuration.
    pub fn to_json(&self) -> String {
        let mut error = json!({
            "code": self.code,
            "message": self.message,
            "remedy": self.remedy,
        });
        if !self.mistakes.is_empty() {
            let mistakes = self
                .mistakes
                .iter()
                .map(|m| json!({ "key": m.key, "problem": m.problem, "remedy": m.remedy }));
            error["mistakes"] = mistakes.collect();
        }
        json!({ "error": error }).to_string()
    }

    /// `error: …` and `remedy: …`; control characters of what others sent are escaped.
    fn to_text(&self, colours: bool) -> String {
        let (red, green, plain) = if colours {
            ("\x1b[1;31m", "\x1b[1;32m", "\x1b[0m")
        } else {
            ("", "", "")
        };
        let message = indented(&self.message);
        let mut text = format!("{red}error{plain}: {message}");
        if !self.remedy.is_empty() {
            let remedy = indented(&self.remedy);
            text.push_str(&format!("\n{green}remedy{plain}: {remedy}"));
        }
        text
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self {
            exit: Exit::Usage,
            code: "configuration".to_owned(),
            message: error.to_string(),
            remedy: "mend the file; `config check` reads it without starting anything".to_owned(),
            mistakes: error.mistakes,
        }
    }
}

/// Parses the process's arguments. Help and version are printed, a usage error is reported in the
/// one shape if `--json` is among the arguments and as clap writes it otherwise; both end with the
/// exit code given back.
///
/// # Errors
/// The exit code: 0 for help and version, 2 for a usage error.
pub fn arguments<P: clap::Parser>() -> Result<P, ExitCode> {
    arguments_from(std::env::args_os().collect())
}

fn arguments_from<P: clap::Parser>(arguments: Vec<OsString>) -> Result<P, ExitCode> {
    let json = arguments.iter().any(|a| a == "--json");
    P::try_parse_from(arguments).map_err(|error| {
        if json && error.use_stderr() {
            usage_failure(&error).report(true)
        } else {
            let _ = error.print(); // a closed stdout changes nothing
            let exit = if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Yes
            };
            exit.into()
        }
    })
}

fn usage_failure(error: &clap::Error) -> Failure {
    let text = error.render().to_string();
    let message = text.lines().next().unwrap_or_default();
    Failure::new(
        Exit::Usage,
        "usage",
        message.trim_start_matches("error: "),
        "`--help` lists what is understood",
    )
}

/// Runs a command to its exit code. A panic in it is a bug of ours: it is reported in the one
/// shape and ends with 70; a panic in another thread or task is reported, and ends only that.
pub fn guard(json: bool, command: impl FnOnce() -> Result<Exit, Failure>) -> ExitCode {
    std::panic::set_hook(Box::new(move |panic| {
        let _ = bug(panic).report(json);
    }));
    // Nothing that the command touched is looked at after a panic.
    match catch_unwind(AssertUnwindSafe(command)) {
        Ok(Ok(exit)) => exit.into(),
        Ok(Err(failure)) => failure.report(json),
        Err(_) => Exit::Bug.into(),
    }
}

fn bug(panic: &PanicHookInfo<'_>) -> Failure {
    let place = panic
        .location()
        .map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    let what = panic.payload_as_str().unwrap_or("no message");
    Failure::new(
        Exit::Bug,
        "bug",
        format!("panicked at {place}: {what}"),
        "this is a bug of countersign: please report it with this message",
    )
}

/// Writes a text, and waits no longer than [`STDERR_DEADLINE`] for its reader: neither a process
/// that ends nor a task that panicked stays because nobody reads.
fn say(text: String, mut out: impl Write + Send + 'static) {
    let (written, waits) = mpsc::channel::<()>();
    let writer = thread::Builder::new().spawn(move || {
        // A closed stderr changes nothing about how the command ends.
        let _ = writeln!(out, "{text}");
        drop(written);
    });
    if writer.is_ok() {
        let _ = waits.recv_timeout(STDERR_DEADLINE);
    }
}

fn colours() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
    !refused && io::stderr().is_terminal()
}

/// Lines after the first are indented; other control characters are escaped.
fn indented(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(printable).collect();
    lines.join("\n  ")
}

#[cfg(test)]
mod tests;
