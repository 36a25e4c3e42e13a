//! The demo as a newcomer runs it.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use countersign_tests::{Command, Process, binaries, wait};
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

/// The narrowest window that it fits.
const COLUMNS: usize = 60;

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_prints_one_object_and_loses_nothing() -> Result<()> {
    let folder = TempDir::new()?;
    let page = folder.path().join("demo.html");
    let output = tokio::process::Command::new(binaries::ours("countersign-demo")?)
        .args(["--duration", "20s", "--json", "--report"])
        .arg(&page)
        .stdin(Stdio::null())
        .output()
        .await?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {stderr}", output.status);
    let report: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stdout).into_owned())?;
    let count = |key: &str| {
        report[key]
            .as_u64()
            .with_context(|| format!("no {key} in {report}"))
    };
    ensure!(
        count("requests_failed")? == 0 && count("connections_dropped")? == 0,
        "{report}"
    );
    ensure!(
        count("requests_ok")? > 1_000 && count("connections_opened")? > 100,
        "{report}"
    );
    ensure!(
        count("rotations")? >= 16 && count("distinct_serials_seen")? >= 8,
        "{report}"
    );
    let (p50, p99) = (
        &report["propagation_ms"]["p50"],
        &report["propagation_ms"]["p99"],
    );
    ensure!(
        p50.as_f64() > Some(0.0) && p99.as_f64() >= p50.as_f64(),
        "{report}"
    );
    ensure!(
        report["replaced"] == json!(["issuing CA", "root"]) && report["interrupted"] == false,
        "{report}"
    );
    let pictures = std::fs::read_to_string(&page)?;
    ensure!(
        report["page"] == json!(page) && pictures.contains("it signs since"),
        "the page tells of the rotation of the root: {report}"
    );
    let wide = stderr.lines().find(|line| line.chars().count() > COLUMNS);
    ensure!(wide.is_none(), "wider than {COLUMNS} columns: {wide:?}");
    println!("{report}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_tells_what_came_of_it_and_leaves_nothing() -> Result<()> {
    let folder = TempDir::new()?;
    let tmp = folder.path().join("tmp");
    std::fs::create_dir(&tmp)?;
    // The temporary folder marks everything that belongs to this demo.
    let environment = format!("TMPDIR={}", tmp.display());
    let program = binaries::ours("countersign-demo")?;
    let arguments = [
        &environment,
        &*program.to_string_lossy(),
        "--duration",
        "60s",
    ];
    let demo = Process::start("demo", "/usr/bin/env".as_ref(), &arguments, folder.path())?;
    demo.wait_for("traffic", async |demo| {
        demo.log().contains("requests: ").then_some(())
    })
    .await?;
    let marker = tmp.to_string_lossy().into_owned();
    let running = mentioning(&marker)?;
    ensure!(
        running.len() >= 5,
        "a control plane, two sidecars, an Envoy: {running:?}"
    );
    demo.signal(Signal::INT)?;
    let ended = wait::until("the end of the demo", Duration::from_secs(10), async || {
        demo.exited()
    });
    ensure!(ended.await?.code() == Some(130), "another exit code");
    let told = demo.log();
    for summary in [
        "requests   ",
        "issued to served",
        "interrupted; until then nothing was lost",
    ] {
        ensure!(told.contains(summary), "no {summary:?} in {told}");
    }
    let wide = told.lines().find(|line| line.chars().count() > COLUMNS);
    ensure!(wide.is_none(), "wider than {COLUMNS} columns: {wide:?}");
    ensure!(
        mentioning(&marker)?.is_empty(),
        "left: {:?}",
        mentioning(&marker)?
    );
    ensure!(
        std::fs::read_dir(&tmp)?.next().is_none(),
        "a folder is left"
    );
    Ok(())
}

#[tokio::test]
async fn a_duration_without_sense_is_a_usage_error() -> Result<()> {
    let demo = Command::new(binaries::ours("countersign-demo")?);
    for duration in ["0s", "soon", "20"] {
        let answer = demo.run(&["--duration", duration]).await?;
        ensure!(
            answer.code == Some(2) && answer.stdout.is_empty(),
            "{duration}: {answer:?}"
        );
    }
    Ok(())
}

/// Processes whose environment or working folder is below `marker`.
fn mentioning(marker: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let proc = entry?.path();
        // A process may end while it is looked at.
        let folder = std::fs::read_link(proc.join("cwd")).unwrap_or_default();
        let environment = std::fs::read(proc.join("environ")).unwrap_or_default();
        let environment = String::from_utf8_lossy(&environment);
        if folder.starts_with(marker) || environment.contains(marker) {
            found.push(proc.display().to_string());
        }
    }
    Ok(found)
}
