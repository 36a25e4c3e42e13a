//! A child process that never outlives its owner.
//!
//! It runs in a process group of its own, so that a Ctrl-C at the terminal reaches only the
//! parent, which ends its children in order. The kernel kills it should the parent be killed.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::wait;

/// What has the kernel end a child with its parent, and then becomes the program.
const SETPRIV: &str = "setpriv";
/// Most of a log that an error quotes, in bytes.
const QUOTED_LOG_BYTES: usize = 4_000;

/// A running program; its stdout and stderr are one file.
#[derive(Debug)]
pub struct Process {
    name: String,
    log: PathBuf,
    child: Mutex<Child>,
    pid: Pid,
}

impl Process {
    /// Starts `program` with `arguments`; its output goes to `<folder>/<name>.log`.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn start(name: &str, program: &Path, arguments: &[&str], folder: &Path) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let output = File::options().create(true).append(true).open(&log)?;
        let child = std::process::Command::new(SETPRIV)
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program)
            .args(arguments)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0)
            .spawn()
            .with_context(|| {
                let program = program.display();
                format!("cannot start {SETPRIV} (package util-linux), which runs {program}")
            })?;
        let pid = Pid::from_child(&child);
        let child = Mutex::new(child);
        Ok(Self {
            name: name.to_owned(),
            log,
            child,
            pid,
        })
    }

    /// The process id.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Everything it has printed, of all runs that shared the log.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The JSON lines that it has printed.
    pub fn events(&self) -> Vec<Value> {
        self.log()
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// How it ended, once it has.
    pub fn exited(&self) -> Option<ExitStatus> {
        self.child
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .try_wait()
            .ok()
            .flatten()
    }

    /// Waits until `condition` gives something.
    ///
    /// # Errors
    /// The process ended first, or the bound passed; quotes the end of its log.
    pub async fn wait_for<T>(
        &self,
        what: &str,
        mut condition: impl AsyncFnMut(&Self) -> Option<T>,
    ) -> Result<T> {
        let found = wait::until(what, wait::BOUND, async || match condition(self).await {
            Some(found) => Some(Ok(found)),
            None => self.exited().map(Err),
        });
        match found.await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(status)) => bail!(
                "{} ended, {status}, before {what}\n{}",
                self.name,
                self.tail()
            ),
            Err(late) => bail!("{}: {late}\n{}", self.name, self.tail()),
        }
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// It is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        // A child that was waited for has given its id back: it could be anybody's by now.
        if let Some(status) = self.exited() {
            bail!("{} has ended: {status}", self.name);
        }
        kill_process(self.pid, signal).with_context(|| format!("signal to {}", self.name))
    }

    /// Ends it at once, as `kill -9` does.
    pub fn kill(&self) {
        let mut child = self
            .child
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        // Either fails only where the process is gone, which is what is wanted.
        let _ = child.kill();
        let _ = child.wait();
    }

    /// Asks it to end and waits for that; kills it after the bound.
    ///
    /// # Errors
    /// It had to be killed.
    pub async fn terminate(&self, bound: Duration) -> Result<ExitStatus> {
        if self.exited().is_none() {
            self.signal(Signal::TERM)?;
        }
        let what = format!("end of {}", self.name);
        let ended = wait::until(&what, bound, async || self.exited()).await;
        if ended.is_err() {
            self.kill();
        }
        ended
    }

    fn tail(&self) -> String {
        let log = self.log();
        let start = log.len().saturating_sub(QUOTED_LOG_BYTES);
        let start = (start..=log.len()).find(|&at| log.is_char_boundary(at));
        log[start.unwrap_or(0)..].to_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        // A failed test shows what its processes said.
        if std::thread::panicking() {
            #[allow(clippy::print_stderr, reason = "the test runner captures it")]
            {
                eprintln!("--- {}\n{}", self.name, self.tail());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_started_is_named() {
        let folder = tempfile::tempdir().unwrap();
        // No program takes an argument with a zero byte.
        let started = Process::start("web", Path::new("program"), &["\0"], folder.path());
        let told = format!("{:#}", started.unwrap_err());
        assert!(
            told.contains("cannot start setpriv (package util-linux)"),
            "{told}"
        );
        assert!(told.contains("program"), "{told}");
    }
}
