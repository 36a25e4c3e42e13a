//! CPU time and memory of a process, as the kernel counts them.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

/// CPU time of each thread at one moment, in nanoseconds.
#[derive(Debug)]
pub struct Cpu {
    pid: u32,
    threads: HashMap<String, u64>,
}

impl Cpu {
    /// Looks at a process.
    ///
    /// # Errors
    /// There is no such process.
    pub fn of(pid: u32) -> Result<Self> {
        let mut threads = HashMap::new();
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            let task = task?;
            // A thread that ends meanwhile takes its last moments with it.
            let Ok(stat) = fs::read_to_string(task.path().join("schedstat")) else {
                continue;
            };
            let spent = stat.split(' ').next().context("schedstat")?.parse()?;
            threads.insert(task.file_name().to_string_lossy().into_owned(), spent);
        }
        Ok(Self { pid, threads })
    }

    /// CPU time of the same process since then.
    ///
    /// # Errors
    /// The process ended.
    pub fn since(&self) -> Result<Duration> {
        let now = Self::of(self.pid)?;
        let spent = now.threads.iter().map(|(thread, spent)| {
            spent.saturating_sub(self.threads.get(thread).copied().unwrap_or_default())
        });
        Ok(Duration::from_nanos(spent.sum()))
    }
}

/// Memory of a process that is resident, in bytes.
///
/// # Errors
/// There is no such process.
pub fn resident(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.context("VmRSS")?.trim().trim_end_matches(" kB");
    Ok(kilobytes.parse::<u64>()? * 1024)
}

/// CPU time that this thread spends on some work.
///
/// # Errors
/// The kernel does not tell.
pub fn of_this_thread(work: impl FnOnce()) -> Result<Duration> {
    let begun = this_thread()?;
    work();
    Ok(this_thread()? - begun)
}

fn this_thread() -> Result<Duration> {
    // The kernel brings the figure up to date when the thread is scheduled.
    std::thread::yield_now();
    let stat = fs::read_to_string("/proc/thread-self/schedstat")?;
    let spent = stat.split(' ').next().context("schedstat")?;
    Ok(Duration::from_nanos(spent.parse()?))
}
