//! A flood is a process of its own, so that it takes no turns from the honest caller beside it.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};
use tokio::process::Command;

use super::flood::Held;
use super::honest::Waits;
use crate::issuance::report::Report;

/// What a process came to, told to its parent.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Outcome {
    /// Connections, calls or messages that it began.
    pub begun: usize,
    /// Calls that the other side holds.
    pub unanswered: usize,
    /// Connections that the other side left open, or the most that were.
    pub connections: usize,
    /// How long each honest call took, in microseconds.
    pub served_us: Vec<u64>,
    /// Honest calls that failed.
    pub failed: usize,
}

impl Outcome {
    /// Of calls that were held.
    pub fn of(mut held: Held) -> Self {
        Self {
            begun: held.opened(),
            unanswered: held.unanswered(),
            connections: held.open_connections(),
            ..Self::default()
        }
    }

    /// How long an honest caller waited.
    pub fn waits(&self) -> Waits {
        let served = self.served_us.iter().copied();
        Waits {
            served: served.map(Duration::from_micros).collect(),
            failed: self.failed,
        }
    }

    /// Tells the parent.
    ///
    /// # Errors
    /// Never, for plain data.
    #[allow(clippy::print_stdout, reason = "the parent reads it there")]
    pub fn tell(&self) -> Result<()> {
        println!("{}", serde_json::to_string(self)?);
        Ok(())
    }

    /// Reports what a flood came to.
    pub fn report(&self, report: Report) {
        report.figure("begun by the flood", self.begun as f64, "");
        report.figure("  calls that were held for it", self.unanswered as f64, "");
        report.figure(
            "  its connections that were open",
            self.connections as f64,
            "",
        );
    }
}

/// Runs a process to its end.
///
/// # Errors
/// It cannot be started, or it failed.
pub async fn run(command: &mut Command) -> Result<Outcome> {
    let output = command.stderr(Stdio::inherit()).kill_on_drop(true).output();
    let output = output.await?;
    ensure!(output.status.success(), "a flood failed: {}", output.status);
    Ok(serde_json::from_slice(&output.stdout)?)
}
