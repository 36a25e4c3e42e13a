//! Running a program to its end and reading its answer.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::binaries;

/// Longest time that a command may take, where nothing else is said.
const COMMAND_BOUND: Duration = Duration::from_secs(60);

/// A program with the arguments that every call shares.
#[derive(Clone, Debug)]
pub struct Command {
    program: PathBuf,
    shared: Vec<String>,
    bound: Duration,
}

/// What a finished command said.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The exit code; `None` after a signal.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Command {
    /// The operator's program `countersign`, without an admin socket.
    ///
    /// # Errors
    /// It was not built.
    pub fn operator() -> Result<Self> {
        Ok(Self::new(binaries::ours("countersign")?))
    }

    /// Any program.
    pub fn new(program: PathBuf) -> Self {
        Self {
            program,
            shared: Vec::new(),
            bound: COMMAND_BOUND,
        }
    }

    /// Adds arguments to every call.
    #[must_use]
    pub fn with(mut self, arguments: &[&str]) -> Self {
        self.shared.extend(arguments.iter().map(|&a| a.to_owned()));
        self
    }

    /// Lets each call take so long, where the usual minute is not enough on a loaded machine.
    #[must_use]
    pub fn within(self, bound: Duration) -> Self {
        Self { bound, ..self }
    }

    /// Adds a path to every call.
    #[must_use]
    pub fn with_path(self, flag: &str, path: &Path) -> Self {
        self.with(&[flag, &path.to_string_lossy()])
    }

    /// Runs it, whatever its exit code.
    ///
    /// # Errors
    /// It cannot be started, or takes too long; it is killed then.
    pub async fn run(&self, arguments: &[&str]) -> Result<Answer> {
        let output = tokio::process::Command::new(&self.program)
            .args(&self.shared)
            .args(arguments)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let bound = self.bound;
        let output = tokio::time::timeout(bound, output)
            .await
            .with_context(|| format!("{arguments:?} took longer than {bound:?}"))?
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        Ok(Answer {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Runs it and gives what it printed.
    ///
    /// # Errors
    /// Any exit code but 0.
    pub async fn text(&self, arguments: &[&str]) -> Result<String> {
        let answer = self.run(arguments).await?;
        if answer.code != Some(0) {
            bail!(
                "{arguments:?} ended with {:?}: {}",
                answer.code,
                answer.stderr.trim()
            );
        }
        Ok(answer.stdout)
    }

    /// Runs it with `--json` and reads the one document that it printed.
    ///
    /// # Errors
    /// Any exit code but 0, or output that is not one JSON document.
    pub async fn json(&self, arguments: &[&str]) -> Result<Value> {
        let text = self.text(&[arguments, &["--json"]].concat()).await?;
        serde_json::from_str(&text).with_context(|| format!("{arguments:?} printed {text:?}"))
    }
}

impl Answer {
    /// The code of the error that was printed as JSON, and its whole.
    ///
    /// # Errors
    /// No line of stderr holds one.
    pub fn error(&self) -> Result<Value> {
        serde_json::from_str::<Value>(self.stderr.trim())
            .ok()
            .and_then(|document| document.get("error").cloned())
            .with_context(|| format!("no error document in {:?}", self.stderr))
    }
}
