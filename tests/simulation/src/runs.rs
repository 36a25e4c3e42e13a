//! Runs, each in a process and a folder of its own.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use anyhow::{Context as _, Result, ensure};

use crate::defects::Defect;
use crate::machine;

/// Folders of files that are memory: nothing of a run outlives it.
const MEMORY: &str = "/dev/shm";
/// Lines of a failed run that are shown.
const SHOWN: usize = 40;

/// One run, with its trace.
///
/// # Errors
/// No run could be begun.
pub fn one(seed: u64) -> Result<ExitCode> {
    let folder = Folder::new(seed)?;
    let status = machine::process(seed, None, &folder.0, Stdio::inherit())?.status()?;
    Ok(match status.success() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// So many runs, on as many cores as there are. Of those that fail the last lines are shown.
///
/// # Errors
/// No run could be begun.
pub fn many(from: u64, count: u64) -> Result<ExitCode> {
    let (next, failed) = (AtomicU64::new(from), AtomicU64::new(0));
    let end = from.saturating_add(count);
    let work = || -> Result<()> {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                return Ok(());
            }
            if let Err(error) = quiet(seed) {
                failed.fetch_add(1, Ordering::Relaxed);
                writeln!(io::stdout(), "seed {seed}: {error:#}")?;
            }
        }
    };
    let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        let ended = workers
            .into_iter()
            .map(|worker| worker.join().expect("no panic"));
        ended.collect::<Result<Vec<()>>>()
    })?;
    let failed = failed.into_inner();
    writeln!(
        io::stdout(),
        "{count} seeds from {from} on, {failed} failed"
    )?;
    Ok(match failed {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// The trace of one run, and whether all was as it should be.
///
/// # Errors
/// No run could be begun.
pub fn traced(seed: u64, defect: Option<Defect>) -> Result<(String, bool)> {
    let folder = Folder::new(seed)?;
    let trace = folder.0.join("trace");
    let mut command = machine::process(seed, defect, &folder.0, File::create(&trace)?.into())?;
    let status = command.stderr(Stdio::null()).status()?;
    Ok((fs::read_to_string(&trace)?, status.success()))
}

/// The first of so many runs in which an invariant does not hold, and which.
///
/// # Errors
/// No run could be begun.
pub fn until_violated(count: u64) -> Result<Option<String>> {
    for seed in 1..=count {
        let (trace, is_sound) = traced(seed, None)?;
        if !is_sound {
            let line = trace.lines().rfind(|line| line.contains("VIOLATED"));
            return Ok(line.map(|line| format!("seed {seed}, {line}")));
        }
    }
    Ok(None)
}

fn quiet(seed: u64) -> Result<()> {
    let folder = Folder::new(seed)?;
    let trace = folder.0.join("trace");
    let mut command = machine::process(seed, None, &folder.0, File::create(&trace)?.into())?;
    let output = command.stderr(Stdio::piped()).output()?;
    let last = tail(&trace)?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}\n{last}{said}", output.status);
    Ok(())
}

fn tail(trace: &Path) -> Result<String> {
    let text = fs::read_to_string(trace)?;
    let lines: Vec<_> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(SHOWN)..];
    Ok(last.iter().map(|line| format!("  {line}\n")).collect())
}

/// Removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(seed: u64) -> Result<Self> {
        let memory = Path::new(MEMORY);
        let parent = match memory.is_dir() {
            true => memory.to_owned(),
            false => std::env::temp_dir(),
        };
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let (process, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = parent.join(format!("simulation-{process}-{count}-{seed}"));
        fs::create_dir(&folder).with_context(|| folder.display().to_string())?;
        Ok(Self(folder))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left costs memory until somebody removes it.
        let _ = fs::remove_dir_all(&self.0);
    }
}
