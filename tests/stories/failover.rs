//! A sidecar that knows two control planes, and loses the one that it is connected to.
//!
//! Both are on one database, each with a log and an issuing CA of its own. Whatever the sidecar was given by
//! the one that is lost, the other knows: nothing is issued anew.

use std::time::Duration;

use anyhow::{Result, ensure};
use countersign_tests::control_plane::Settings;
use countersign_tests::mesh::node_id;
use countersign_tests::sidecar::Listeners;
use countersign_tests::{ControlPlane, Mesh, Process, Registration, Sidecar, wait};
use countersign_tests_postgres::{Database, shared};
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
    let held_before = held(&pair.sidecar, 2).await?;
    let first = pair.connected_elsewhere("nowhere").await?;
    let since = Instant::now();
    pair.control_plane(&first, true).process().signal(by)?;
    pair.connected_elsewhere(&first).await?;
    let took = since.elapsed();
    ensure!(took < PROMISED, "{by:?}: {took:?}");
    pair.left(reason).await?;
    let left = pair.sidecar.status().await?["control_plane"]["left"].clone();
    ensure!(left["address"] == first.as_str(), "{left}");
    ensure!(
        held(&pair.sidecar, 2).await? == held_before,
        "another certificate"
    );
    pair.goes_on(&first).await?;
    Ok(took)
}

/// Two control planes of the same state, and a sidecar that knows both.
struct Pair {
    // Dropped first: their folders are the mesh's.
    sidecar: Sidecar,
    mesh: Mesh,
    _database: Database,
}

impl Pair {
    async fn start() -> Result<Self> {
        let database = shared().database();
        let settings = Settings::default();
        let mut mesh = Mesh::start(&settings.clone().on(&database, "a")).await?;
        mesh.join("b", settings.on(&database, "b")).await?;
        mesh.register(&Registration::new(WEB, "a")).await?;
        let sidecar = mesh.sidecar("a", &Listeners::default()).await?;
        held(&sidecar, 2).await?;
        Ok(Self {
            sidecar,
            mesh,
            _database: database,
        })
    }

    /// The control plane behind an address, or the other one.
    fn control_plane(&self, address: &str, is_behind: bool) -> &ControlPlane {
        let all = self.mesh.control_planes().into_iter();
        let mut found = all.filter(|it| address.contains(&it.api().to_string()) == is_behind);
        found.next().expect("there are two")
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

    /// The one that is left registers an identity, and certifies the key of the sidecar for it.
    async fn goes_on(&self, lost: &str) -> Result<()> {
        let left = self.control_plane(lost, false);
        let uid = format!("unix:uid:{}", rustix::process::geteuid().as_raw());
        let (id, node) = ("spiffe://example.org/ns/shop/sa/api", node_id("a"));
        let register = [
            "register",
            "--node",
            &node,
            "--id",
            id,
            "--selector",
            &uid,
            "--owner",
            "team-test",
        ];
        left.operator()?.text(&register).await?;
        held(&self.sidecar, 3).await?;
        Ok(())
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
async fn held(sidecar: &Sidecar, many: usize) -> Result<Vec<String>> {
    wait::until("certificates", wait::BOUND, async || {
        let status = sidecar.status().await.ok()?;
        let items = status["identities"]["items"].as_array()?;
        let serial = |it: &Value| Some(it["serial"].as_str()?.to_owned());
        let serials: Option<Vec<_>> = items.iter().map(serial).collect();
        serials.filter(|serials| serials.len() == many)
    })
    .await
}
