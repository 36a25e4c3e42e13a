//! What one flood cost a daemon: memory, CPU and log lines.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::issuance::cpu::Cpu;
use crate::issuance::report::Report;
use crate::log;
use crate::memory::{MIB, Memory, forget_peak};

/// So long it is looked at after the end.
const SETTLING: Duration = Duration::from_secs(10);
/// This much more than before is what a process keeps that has once worked.
const KEPT_BYTES: u64 = 4 << 20;
const POLL: Duration = Duration::from_millis(200);

/// A daemon that is looked at from a moment on.
#[derive(Debug)]
pub struct Watched {
    pid: u32,
    log: PathBuf,
    log_begin: u64,
    before: Memory,
    cpu: Cpu,
    begun: Instant,
}

impl Watched {
    /// Looks at it before a flood.
    ///
    /// # Errors
    /// It is gone.
    pub fn begin(pid: u32, log: PathBuf) -> Result<Self> {
        forget_peak(pid)?;
        Ok(Self {
            log_begin: log::length(&log)?,
            before: Memory::of(pid)?,
            cpu: Cpu::of(pid)?,
            begun: Instant::now(),
            pid,
            log,
        })
    }

    /// Looks at it at the end of a flood, then until memory has come back, and reports. Meanwhile an
    /// honest caller acts, for an allocator gives pages back while it is at work.
    ///
    /// # Errors
    /// It is gone, or the caller is not served.
    pub async fn report(
        &self,
        report: Report,
        mut act: impl AsyncFnMut() -> Result<()>,
    ) -> Result<()> {
        let (cpu, took) = (self.cpu.since()?, self.begun.elapsed());
        let (ended, peak) = (Instant::now(), Memory::of(self.pid)?.peak);
        let mut after = Memory::of(self.pid)?.resident;
        while after > self.before.resident + KEPT_BYTES && ended.elapsed() < SETTLING {
            tokio::time::sleep(POLL).await;
            act().await?;
            after = Memory::of(self.pid)?.resident;
        }
        let mebibytes = |bytes: u64| bytes as f64 / MIB;
        let more = |bytes: u64| mebibytes(bytes.saturating_sub(self.before.resident));
        report.figure("resident before", mebibytes(self.before.resident), "MiB");
        report.figure("more at the peak", more(peak), "MiB");
        report.figure("more once it was over", more(after), "MiB");
        report.figure(
            "  and so long after its end",
            ended.elapsed().as_secs_f64(),
            "s",
        );
        report.figure("how long it lasted", took.as_secs_f64(), "s");
        report.figure("CPU of the daemon", cpu.as_secs_f64(), "s");
        let lines = log::most_lines_a_second(&self.log, self.log_begin)?;
        report.figure("lines logged in the worst second", lines as f64, "");
        Ok(())
    }

    /// Looks at it during the same flood once more: what adds nothing was free, though it was resident.
    ///
    /// # Errors
    /// It is gone, or the flood failed.
    pub async fn again<T>(
        self,
        report: Report,
        flood: impl Future<Output = Result<T>>,
    ) -> Result<()> {
        forget_peak(self.pid)?;
        flood.await?;
        let more = Memory::of(self.pid)?
            .peak
            .saturating_sub(self.before.resident);
        report.figure("more at the peak of another", more as f64 / MIB, "MiB");
        Ok(())
    }
}
