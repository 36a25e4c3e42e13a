//! A root is replaced under load while its consumers are at two control planes.

use anyhow::{Context, Result, ensure};
use countersign_tests::envoy::Dialect::{Delta, StateOfTheWorld};
use countersign_tests::host::Equipment;
use countersign_tests::sidecar::Listeners;
use countersign_tests::{Sidecar, wait};
use rustix::process::Signal;
use serde_json::Value;

use super::fleet::{Fleet, Wanted};
use crate::scene::{Proxy, STEADY};

/// `a_root_signs_nothing_before_every_live_consumer_acknowledged_it`, wherever that consumer is.
#[tokio::test(flavor = "multi_thread")]
async fn gate_of_a_root_waits_for_the_consumers_of_both() -> Result<()> {
    let fleet = Fleet::start(Wanted {
        proxies: [Proxy::Envoy(StateOfTheWorld), Proxy::Envoy(Delta)],
        pace: STEADY,
        equipment: Equipment::default(),
        node_ttl: "1h",
        has_standby: false,
    })
    .await?;
    let idle = [
        idle_at(&fleet, 0, "c").await?,
        idle_at(&fleet, 1, "d").await?,
    ];
    let traffic = fleet.traffic().await?;
    let before = active_root(&fleet, 0).await?;
    for sidecar in &idle {
        sidecar.process().signal(Signal::STOP)?;
    }
    let operator = fleet.control_plane(0).operator()?;
    let rotation =
        tokio::spawn(async move { operator.json(&["ca", "rotate-root", "--wait"]).await });
    // Each tells of the other's, and of nobody else: all others have acknowledged.
    for place in [0, 1] {
        waits_for(&fleet, place, &["node/c", "node/d"]).await?;
    }
    // One that was heard of again is no reason to forget the other.
    idle[0].process().signal(Signal::CONT)?;
    for place in [0, 1] {
        waits_for(&fleet, place, &["node/d"]).await?;
        ensure!(
            active_root(&fleet, place).await? == before,
            "activated too early"
        );
    }
    traffic.requests(500).await?;
    ensure!(!rotation.is_finished(), "the verb did not wait");
    idle[1].process().signal(Signal::CONT)?;
    rotation.await.context("the verb")??;
    for place in [0, 1] {
        let what = "the new root";
        wait::until(what, wait::BOUND, async || {
            let active = active_root(&fleet, place).await.ok()?;
            (active != before).then_some(())
        })
        .await?;
    }
    traffic.renewals(3).await?;
    fleet.nothing_was_lost(traffic).await
}

/// A sidecar that knows one of the control planes, and has nothing to do.
async fn idle_at(fleet: &Fleet, place: usize, node: &str) -> Result<Sidecar> {
    let folder = fleet.scene.mesh.invite(node).await?;
    let api = fleet.control_plane(place).api();
    let sidecar = Sidecar::start(&folder, api, &Listeners::default())?;
    sidecar.ready().await?;
    Ok(sidecar)
}

/// Waits until a control plane tells that a root waits for these, each once, and for no others.
async fn waits_for(fleet: &Fleet, place: usize, expected: &[&str]) -> Result<()> {
    let operator = fleet.control_plane(place).operator()?;
    let mut last = Value::Null;
    let waits = wait::until("whom the root waits for", wait::BOUND, async || {
        last = operator.json(&["ca", "status"]).await.ok()?["waiting_for"].clone();
        let names: Vec<String> = serde_json::from_value(last.clone()).ok()?;
        let is_told = |it: &&str| names.iter().filter(|name| name.contains(*it)).count() == 1;
        (names.len() == expected.len() && expected.iter().all(is_told)).then_some(())
    });
    waits.await.with_context(|| format!("last: {last}"))
}

async fn active_root(fleet: &Fleet, place: usize) -> Result<String> {
    let status = fleet
        .control_plane(place)
        .operator()?
        .json(&["ca", "status"])
        .await?;
    let roots = status["roots"].as_array().context("roots")?;
    let active = roots.iter().find(|root| root["state"] == "active");
    let key_id = active.context("an active root")?["key_id"].as_str();
    Ok(key_id.context("its key")?.to_owned())
}
