//! CPU time and memory of a process, as the kernel counts them.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

/// CPU time of each thread at one moment, in nanoseconds, of one process or several.
#[derive(Debug)]
pub struct Cpu {
    pids: Vec<u32>,
    threads: HashMap<String, u64>,
}

impl Cpu {
    /// Looks at a process.
    ///
    /// # Errors
    /// There is no such process.
    pub fn of(pid: u32) -> Result<Self> {
        Self::of_all(&[pid])
    }

    /// Looks at processes.
    ///
    /// # Errors
    /// None of them is there.
    pub fn of_all(pids: &[u32]) -> Result<Self> {
        let mut threads = HashMap::new();
        for pid in pids {
            // What ends meanwhile, a thread or a process, takes its last moments with it.
            let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
                continue;
            };
            for task in tasks {
                let task = task?;
                let Ok(stat) = fs::read_to_string(task.path().join("schedstat")) else {
                    continue;
                };
                let spent = stat.split(' ').next().context("schedstat")?.parse()?;
                threads.insert(task.file_name().to_string_lossy().into_owned(), spent);
            }
        }
        ensure!(!threads.is_empty(), "no such process");
        Ok(Self {
            pids: pids.to_owned(),
            threads,
        })
    }

    /// CPU time of the same processes since then.
    ///
    /// # Errors
    /// They ended.
    pub fn since(&self) -> Result<Duration> {
        let now = Self::of_all(&self.pids)?;
        let spent = now.threads.iter().map(|(thread, spent)| {
            spent.saturating_sub(self.threads.get(thread).copied().unwrap_or_default())
        });
        Ok(Duration::from_nanos(spent.sum()))
    }
}

/// The processes of PostgreSQL that this process, or a child of it, has started.
///
/// # Errors
/// The kernel does not tell.
pub fn of_postgres() -> Result<Vec<u32>> {
    let mut parents = HashMap::new();
    for process in fs::read_dir("/proc")? {
        let name = process?.file_name();
        let Ok(pid) = name.to_string_lossy().parse::<u32>() else {
            continue;
        };
        // One that ends meanwhile is none of them.
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
            continue;
        };
        let (head, tail) = stat.rsplit_once(") ").context("stat")?;
        let parent = tail.split(' ').nth(1).context("stat")?.parse::<u32>()?;
        parents.insert(pid, (parent, head.ends_with("(postgres")));
    }
    let is_ours = |pid: u32| {
        let line = std::iter::successors(Some(pid), |pid| Some(parents.get(pid)?.0));
        line.skip(1).any(|above| above == std::process::id())
    };
    let servers = parents.iter().filter(|(_, (_, is_postgres))| *is_postgres);
    let servers = servers.map(|(pid, _)| *pid).filter(|pid| is_ours(*pid));
    Ok(servers.collect())
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
