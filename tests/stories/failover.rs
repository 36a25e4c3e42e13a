//! A sidecar that knows two control planes, and loses the one that it is connected to.
//!
//! The second is made from a copy of the first, as long as there is no store that both could share.
//! Nothing is issued or registered after the copy, so each knows all that the sidecar holds.

use std::path::Path;
use std::process::Command as Program;
use std::time::Duration;

use anyhow::{Result, ensure};
use countersign_tests::control_plane::Settings;
use countersign_tests::sidecar::Listeners;
use countersign_tests::{ControlPlane, Mesh, Process, Registration, Sidecar, wait};
use rustix::process::Signal;
use serde_json::Value;
use tokio::time::Instant;

use crate::scene::WEB;

/// Two seconds are promised; the machine of a test has other things to do.
const PROMISED: Duration = Duration::from_secs(4);

#[tokio::test(flavor = "multi_thread")]
async fn control_plane_that_stands_still_is_left() -> Result<()> {
    let took = lost(Signal::STOP, "silent").await?;
    eprintln!("left {took:?} after SIGSTOP");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn control_plane_that_is_killed_is_left() -> Result<()> {
    let took = lost(Signal::KILL, "broken").await?;
    eprintln!("left {took:?} after SIGKILL");
    Ok(())
}

/// How long after it the stream is open at the other one.
async fn lost(by: Signal, reason: &str) -> Result<Duration> {
    let pair = Pair::start().await?;
    let held_before = held(&pair.sidecar).await?;
    let first = pair.connected_elsewhere("nowhere").await?;
    let since = Instant::now();
    pair.process(&first).signal(by)?;
    pair.connected_elsewhere(&first).await?;
    let took = since.elapsed();
    ensure!(took < PROMISED, "{by:?}: {took:?}");
    pair.left(reason).await?;
    let left = pair.sidecar.status().await?["control_plane"]["left"].clone();
    ensure!(left["address"] == first.as_str(), "{left}");
    ensure!(
        held(&pair.sidecar).await? == held_before,
        "another certificate"
    );
    Ok(took)
}

/// Two control planes of the same state, and a sidecar that knows both.
struct Pair {
    // Dropped first: their folders are the mesh's.
    sidecar: Sidecar,
    other: ControlPlane,
    mesh: Mesh,
}

impl Pair {
    async fn start() -> Result<Self> {
        let settings = Settings::default();
        let mut mesh = Mesh::start(&settings).await?;
        mesh.register(&Registration::new(WEB, "a")).await?;
        // Its first life gives it its addresses.
        let mut other = ControlPlane::start(&mesh.folder().join("other"), &settings).await?;
        other.process().terminate(wait::BOUND).await?;
        let folder = mesh.invite("a").await?;
        let both = [mesh.control_plane().api(), other.api()];
        let sidecar = Sidecar::start_among(&folder, &both, &Listeners::default())?;
        held(&sidecar).await?;
        let first = mesh.control_plane().process();
        first.terminate(wait::BOUND).await?;
        copy(
            &mesh.control_plane().folder().join("data"),
            &other.folder().join("data"),
        )?;
        mesh.control_plane_mut().start_again().await?;
        other.start_again().await?;
        Ok(Self {
            sidecar,
            other,
            mesh,
        })
    }

    /// The process behind an address.
    fn process(&self, address: &str) -> &Process {
        match address.contains(&self.other.api().to_string()) {
            true => self.other.process(),
            false => self.mesh.control_plane().process(),
        }
    }

    /// The address of a stream that is open and not at this one.
    async fn connected_elsewhere(&self, than: &str) -> Result<String> {
        wait::until("a stream elsewhere", wait::BOUND, async || {
            let link = self.sidecar.status().await.ok()?["control_plane"].clone();
            let address = link["address"].as_str()?.to_owned();
            (link["connected"] == true && address != than).then_some(address)
        })
        .await
    }

    /// Waits until the log says so of the newest stream.
    async fn left(&self, reason: &str) -> Result<()> {
        let newest = async |process: &Process| {
            let events = process.events().into_iter().rev();
            let mut connected = events.filter(|it| it["message"] == "control plane connected");
            (connected.next()?["reason"] == reason).then_some(())
        };
        self.sidecar.process().wait_for(reason, newest).await
    }
}

/// The serials of the node and its workload, once both are held.
async fn held(sidecar: &Sidecar) -> Result<Vec<String>> {
    wait::until("both certificates", wait::BOUND, async || {
        let status = sidecar.status().await.ok()?;
        let items = status["identities"]["items"].as_array()?;
        let serial = |it: &Value| Some(it["serial"].as_str()?.to_owned());
        let serials: Option<Vec<_>> = items.iter().map(serial).collect();
        serials.filter(|serials| serials.len() == 2)
    })
    .await
}

/// A data directory, with owners and modes.
fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::remove_dir_all(to)?;
    let copied = Program::new("cp").arg("-a").args([from, to]).status()?;
    ensure!(copied.success(), "cp: {copied}");
    Ok(())
}
