//! The demo: everything on one machine, traffic through it, every kind of rotation, a verdict.
//!
//! It is a user of the programs like any other. Whatever ends it, its processes end with it and
//! its folder is removed.

mod interrupts;
mod progress;
mod report;
mod stage;

use std::cell::RefCell;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Parser;

use interrupts::Interrupts;
use progress::Progress;
use report::{Ending, Report, Verdict};
use stage::Stage;

/// Everything that was sent was answered.
const NOTHING_LOST: u8 = 0;
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
/// When a control plane dies.
const KILL_AT: f64 = 0.4;

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
    /// How many control planes there are; two share a PostgreSQL that the demo starts
    #[arg(long, default_value = "1", value_parser = clap::value_parser!(u8).range(1..=2))]
    pub replicas: u8,
    /// Kill one of two control planes (SIGKILL) in the middle, in place of replacing the root
    #[arg(long, requires = "replicas")]
    pub kill: bool,
    /// Write the page of `countersign report` here at the end
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
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

/// Runs the demo to its verdict: 0 nothing lost, 1 something was, 130 it was interrupted.
///
/// The first interrupt ends the traffic and gives the summary so far, the second everything.
pub async fn main(arguments: &Arguments) -> ExitCode {
    let outcome = match Interrupts::catch() {
        Ok(interrupts) => tokio::select! {
            outcome = run(arguments, &interrupts) => outcome,
            () = interrupts.reached(2) => Ok(None),
        },
        Err(error) => Err(error.into()),
    };
    match outcome.and_then(|report| tell(report, arguments.json)) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            // Nobody is left to tell where stderr is closed.
            let _ = writeln!(std::io::stderr(), "the demo could not run: {error:#}");
            ExitCode::from(BROKEN)
        }
    }
}

/// What was found; `None` where the demo was interrupted before there was traffic.
async fn run(arguments: &Arguments, interrupts: &Interrupts) -> Result<Option<Report>> {
    anyhow::ensure!(
        !arguments.kill || arguments.replicas > 1,
        "--kill needs --replicas 2: somebody must be left"
    );
    let mut progress = Progress::new(arguments.duration);
    let begun = async {
        let stage = Stage::set(arguments.replicas, &mut progress).await?;
        let cast = stage.begin().await?;
        anyhow::Ok((stage, cast))
    };
    let (stage, cast) = tokio::select! {
        biased;
        () = interrupts.reached(1) => return Ok(None),
        begun = begun => begun?,
    };
    let replaced = RefCell::default();
    let interrupted = {
        let rotations = change(&stage, arguments, &progress, &replaced);
        let watching = watch(&stage, &cast, arguments.duration, &progress);
        let whole = async { tokio::join!(rotations, watching).0 };
        tokio::select! {
            biased;
            () = interrupts.reached(1) => true,
            rotated = whole => { rotated?; false }
        }
    };
    progress.end();
    if let Some(file) = &arguments.report {
        let file = file.to_string_lossy();
        stage.operate(&["report", "--html", &file]).await?;
    }
    let ending = Ending {
        replaced: replaced.into_inner(),
        interrupted,
        page: arguments.report.clone(),
    };
    stage.end(cast, ending).await.map(Some)
}

/// Shows everything until the time is over.
async fn watch(stage: &Stage, cast: &stage::Cast, duration: Duration, progress: &Progress) {
    let start = Instant::now();
    while start.elapsed() < duration {
        progress.show(start.elapsed(), &stage.frame(cast).await);
        tokio::time::sleep(FRAME).await;
    }
}

/// What happens while there is traffic: CAs are replaced, or a control plane dies.
async fn change(
    stage: &Stage,
    arguments: &Arguments,
    progress: &Progress,
    replaced: &RefCell<Vec<&'static str>>,
) -> Result<()> {
    let start = tokio::time::Instant::now();
    let at = |share| start + arguments.duration.mul_f64(share);
    // Under a new issuing CA identities move at their next renewal; nodes have an hour for it, so
    // nobody waits here. A new root signs nothing before everybody has it.
    let rotations = [
        (ISSUING_AT, "issuing CA", &["ca", "rotate-issuing"][..]),
        (ROOT_AT, "root", &["ca", "rotate-root", "--wait"]),
    ];
    for (share, what, verb) in rotations {
        if arguments.kill && what == "root" {
            break;
        }
        tokio::time::sleep_until(at(share)).await;
        let command = verb.join(" ");
        progress.event(&format!("$ countersign {command}"));
        let answer = stage.operate(verb).await;
        let answer = answer.with_context(|| format!("rotation of the {what}"))?;
        let key_id = answer["key_id"].as_str().unwrap_or_default();
        progress.event(&format!("the {what} is replaced: key {key_id:.16}"));
        replaced.borrow_mut().push(what);
    }
    if arguments.kill {
        tokio::time::sleep_until(at(KILL_AT)).await;
        progress.event("$ kill -9 (control plane a)");
        let took = stage.kill_first().await?;
        let millis = took.as_millis();
        progress.event(&format!(
            "both sidecars are at control plane b after {millis} ms"
        ));
    }
    Ok(())
}

/// Prints the summary, and gives the exit code.
fn tell(report: Option<Report>, json: bool) -> Result<u8> {
    let Some(report) = report else {
        return Ok(INTERRUPTED);
    };
    let mut stdout = std::io::stdout();
    if json {
        writeln!(stdout, "{}", serde_json::to_string(&report)?)?;
    } else {
        writeln!(stdout, "{report}")?;
    }
    Ok(match report.verdict() {
        Verdict::Lost => LOST,
        Verdict::Interrupted => INTERRUPTED,
        Verdict::NothingLost => NOTHING_LOST,
    })
}
