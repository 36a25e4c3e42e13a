//! The demo: everything on one machine, traffic through it, every kind of rotation, a verdict.
//!
//! It is a user of the programs like any other. Whatever ends it, its processes end with it and
//! its folder is removed.

mod progress;
mod report;
mod stage;

use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use progress::Progress;
use report::Report;
use stage::Stage;

/// Something was lost.
const LOST: u8 = 1;
/// The demo itself could not be had.
const BROKEN: u8 = 70;
/// As a shell counts it: 128 and the number of SIGINT.
const INTERRUPTED: u8 = 130;
/// Between two looks at everything.
const FRAME: Duration = Duration::from_millis(250);
/// When, as a share of the run, the issuing CA and the root are replaced.
const ISSUING_AT: f64 = 0.05;
/// Early: Workload API streams cannot acknowledge, and have a grace of ten seconds.
const ROOT_AT: f64 = 0.15;

/// Watch certificates rotate under load.
#[derive(Clone, Debug, Parser)]
#[command(name = "countersign-demo", version)]
pub struct Arguments {
    /// How long traffic runs, such as `20s` or `2m`
    #[arg(long, default_value = "30s", value_parser = duration)]
    pub duration: Duration,
    /// Print exactly one JSON object on stdout; progress goes to stderr
    #[arg(long)]
    pub json: bool,
}

fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = match (text.strip_suffix('s'), text.strip_suffix('m')) {
        (Some(number), _) => (number, 1),
        (_, Some(number)) => (number, 60),
        _ => return Err("write seconds or minutes, such as 20s or 2m".to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| "is no whole number")?;
    match number * unit {
        seconds @ 10..=3_600 => Ok(Duration::from_secs(seconds)),
        _ => Err("write at least 10s and at most 60m".to_owned()),
    }
}

/// Runs the demo to its verdict: 0 nothing lost, 1 something was.
pub async fn main(arguments: &Arguments) -> ExitCode {
    let run = std::pin::pin!(run(arguments));
    let outcome = tokio::select! {
        outcome = run => outcome,
        () = interrupted() => return ExitCode::from(INTERRUPTED),
    };
    match outcome.and_then(|report| tell(&report, arguments.json).map(|()| report)) {
        Ok(report) if report.is_lossless() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(LOST),
        Err(error) => {
            // Nobody is left to tell where stderr is closed.
            let _ = writeln!(std::io::stderr(), "the demo could not run: {error:#}");
            ExitCode::from(BROKEN)
        }
    }
}

async fn run(arguments: &Arguments) -> Result<Report> {
    let mut progress = Progress::new(arguments.duration);
    let stage = Stage::set(&mut progress).await?;
    let cast = stage.begin().await?;
    let rotations = rotate_authorities(&stage, arguments.duration, &progress);
    let watching = watch(&stage, &cast, arguments.duration, &progress);
    let (rotated, ()) = tokio::join!(rotations, watching);
    rotated?;
    progress.end();
    stage.end(cast).await
}

/// Shows everything until the time is over.
async fn watch(stage: &Stage, cast: &stage::Cast, duration: Duration, progress: &Progress) {
    let start = Instant::now();
    while start.elapsed() < duration {
        progress.show(start.elapsed(), &stage.frame(cast).await);
        tokio::time::sleep(FRAME).await;
    }
}

async fn rotate_authorities(stage: &Stage, run: Duration, progress: &Progress) -> Result<()> {
    let start = tokio::time::Instant::now();
    // Under a new issuing CA identities move at their next renewal; nodes have an hour for it, so
    // nobody waits here. A new root signs nothing before everybody has it.
    for (share, what, verb) in [
        (ISSUING_AT, "issuing CA", &["ca", "rotate-issuing"][..]),
        (ROOT_AT, "root", &["ca", "rotate-root", "--wait"]),
    ] {
        tokio::time::sleep_until(start + run.mul_f64(share)).await;
        let command = verb.join(" ");
        progress.event(&format!("replacing the {what}: countersign {command}"));
        let answer = stage.operate(verb).await;
        let answer = answer.with_context(|| format!("rotation of the {what}"))?;
        let key_id = answer["key_id"].as_str().unwrap_or_default();
        progress.event(&format!("the {what} is replaced: key {key_id:.16}"));
    }
    Ok(())
}

fn tell(report: &Report, json: bool) -> Result<()> {
    let mut stdout = std::io::stdout();
    if json {
        writeln!(stdout, "{}", serde_json::to_string(report)?)?;
    } else {
        writeln!(stdout, "{report}")?;
    }
    Ok(())
}

/// Ctrl-C, or a polite kill.
async fn interrupted() {
    let signals = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    );
    let (Ok(mut interrupt), Ok(mut terminate)) = signals else {
        // Without handlers a signal ends us, and the kernel our children.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
