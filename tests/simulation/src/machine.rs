//! The machine of a run: the process that sees the simulated one, and the runtime that all hosts
//! share.
//!
//! One thread runs every task; whatever else runs in threads of its own, such as the database and the
//! writer of the log, runs while that thread waits, one at a time (`shim/machine.c`). The clock stands
//! still until nothing is left to do, and goes on to the next timer then.

use std::fs::{File, OpenOptions};
use std::future::poll_fn;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Instant;

use anyhow::{Context as _, Result};
use tokio::runtime::Builder;

use crate::defects::Defect;
use crate::disk::LENGTH;
use crate::mutants::MUTANT;

/// The first argument of a process that is one run.
pub const RUN: &str = "run-of-a-seed";

/// The file of the clock, in the folder of the run.
pub(crate) const CLOCK: &str = "clock";
/// When every run begins: 2030-01-01, in nanoseconds since 1970.
const BEGINS: i64 = 1_893_456_000_000_000_000;
/// What of each file is on the disk, in the folder of the run.
pub(crate) const DISK: &str = "disk";
/// Takes the generator of the processor away from AWS-LC, which asks it beside the kernel.
const NO_RDRAND: &str = "~0x4000000000000000";

/// This program again, as a run of a seed in an empty folder: see the module's page.
pub(crate) fn process(
    seed: u64,
    defect: Option<Defect>,
    folder: &Path,
    out: Stdio,
) -> Result<Command> {
    let mut clock = BEGINS.to_ne_bytes().to_vec();
    clock.resize(LENGTH, 0);
    std::fs::write(folder.join(CLOCK), clock)?;
    std::fs::create_dir(folder.join(DISK))?;
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args([RUN, &seed.to_string()])
        .current_dir(folder)
        .env_clear()
        .env("LD_PRELOAD", env!("SIMULATED_MACHINE"))
        .env("OPENSSL_ia32cap", NO_RDRAND)
        .env("SIMULATION_SEED", seed.to_string())
        .env("SIMULATION_CLOCK", CLOCK)
        .env("SIMULATION_DISK", DISK)
        .stdin(Stdio::null())
        .stdout(out);
    if let Ok(mutant) = std::env::var(MUTANT) {
        command.env(MUTANT, mutant);
    }
    if let Some(defect) = defect {
        let (variable, value) = defect.environment();
        command.env(variable, value);
    }
    Ok(command)
}

/// Runs everything, on one thread, in simulated time. The runtime is one of a current thread, whose clock
/// is paused.
///
/// # Errors
/// It was not begun by [`runs`](crate::runs).
pub fn run<F: Future>(mut runtime: Builder, life: impl FnOnce(Steps) -> F) -> Result<F::Output> {
    let clock = Clock::open()?;
    let steps = Steps::default();
    let counted = steps.clone();
    let runtime = runtime
        .enable_time()
        // What other threads have done is taken up when nothing else is left to do, and not at a
        // moment that they decide.
        .event_interval(u32::MAX)
        .global_queue_interval(u32::MAX)
        .on_thread_park(move || {
            std::thread::yield_now();
            counted.step();
        })
        .on_thread_unpark(move || clock.follow(tokio::time::Instant::now().into_std()))
        .build()
        .context("no runtime")?;
    Ok(runtime.block_on(life(steps)))
}

/// The steps of a run: one ends whenever every task and every thread waits. Within a moment of simulated
/// time there are many, as where a task waits for the database.
#[derive(Clone, Debug, Default)]
pub struct Steps(Arc<Mutex<Awaited>>);

#[derive(Debug, Default)]
struct Awaited {
    count: u64,
    waiting: Option<(u64, Waker)>,
}

impl Steps {
    /// Waits until so many have ended. One task alone may wait.
    pub(crate) async fn pass(&self, count: u64) {
        let end = self.awaited().count + count;
        poll_fn(|cx| {
            let mut awaited = self.awaited();
            if awaited.count >= end {
                return Poll::Ready(());
            }
            awaited.waiting = Some((end, cx.waker().clone()));
            Poll::Pending
        })
        .await;
    }

    fn step(&self) {
        let mut awaited = self.awaited();
        awaited.count += 1;
        let count = awaited.count;
        if let Some((_, waker)) = awaited.waiting.take_if(|(end, _)| *end <= count) {
            drop(awaited);
            waker.wake();
        }
    }

    fn awaited(&self) -> MutexGuard<'_, Awaited> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What all clocks of the process say.
struct Clock {
    file: File,
    began: Instant,
}

impl Clock {
    fn open() -> Result<Self> {
        let file = OpenOptions::new().write(true).open(CLOCK);
        Ok(Self {
            file: file.context("run by the program itself, with a clock")?,
            began: Instant::now(),
        })
    }

    fn follow(&self, now: Instant) {
        let passed = now.duration_since(self.began).as_nanos();
        let shown = i64::try_from(passed).map(|passed| BEGINS + passed);
        let shown = shown.expect("a run takes less than centuries");
        let written: io::Result<()> = self.file.write_all_at(&shown.to_ne_bytes(), 0);
        written.expect("eight bytes of a file that is there");
    }
}
