//! Rotation of the authorities themselves.

use anyhow::{Context, Result, ensure};
use countersign_tests::envoy::{Bootstrap, Dialect};
use countersign_tests::sidecar::Listeners;
use countersign_tests::{Command, Envoy, Registration, wait};
use rustix::process::Signal;
use serde_json::Value;

use crate::scene::{CLIENT, Proxy, STEADY, Scene};

const IDLE: &str = "spiffe://example.org/idle";

/// `a_root_signs_nothing_before_every_live_consumer_acknowledged_it`
#[tokio::test(flavor = "multi_thread")]
async fn root_rotation_waits_for_whom_it_names() -> Result<()> {
    let scene = Scene::start(Proxy::Sidecar, Proxy::Sidecar, STEADY).await?;
    scene.mesh.register(&Registration::new(IDLE, "c")).await?;
    let idle = scene.mesh.sidecar("c", &Listeners::default()).await?;
    idle.ready().await?;
    let envoy = idle_envoy(&scene)?;
    envoy.ready().await?;
    let traffic = scene.traffic().await?;
    let operator = scene.mesh.operator()?;
    let before = active_root(&operator).await?;

    idle.process().signal(Signal::STOP)?;
    envoy.process().signal(Signal::STOP)?;
    let rotation = tokio::spawn({
        let operator = operator.clone();
        async move { operator.json(&["ca", "rotate-root", "--wait"]).await }
    });
    // Everybody but the two who cannot answer.
    waiting_for(&operator, |names| {
        names.len() == 2 && names.iter().any(|name| name.contains("node/c"))
    })
    .await?;
    ensure!(
        active_root(&operator).await? == before,
        "activated too early"
    );
    envoy.process().signal(Signal::CONT)?;
    waiting_for(&operator, |names| {
        names.len() == 1 && names[0].contains("node/c")
    })
    .await?;
    ensure!(
        active_root(&operator).await? == before,
        "activated too early"
    );
    traffic.requests(500).await?;
    ensure!(!rotation.is_finished(), "the verb did not wait");

    idle.process().signal(Signal::CONT)?;
    rotation.await.context("the verb")??;
    ensure!(
        active_root(&operator).await? != before,
        "still the old root"
    );
    traffic.renewals(2).await?;
    traffic.lost_nothing().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn issuing_rotation_leaves_the_bundle_alone() -> Result<()> {
    let scene = Scene::start(Proxy::Envoy(Dialect::Delta), Proxy::Sidecar, STEADY).await?;
    let traffic = scene.traffic().await?;
    let operator = scene.mesh.operator()?;
    let before = operator.json(&["ca", "status"]).await?;
    operator.json(&["ca", "rotate-issuing"]).await?;
    let after = operator.json(&["ca", "status"]).await?;
    ensure!(
        after["bundle_version"] == before["bundle_version"],
        "{after}"
    );
    ensure!(
        active(&after, "roots") == active(&before, "roots"),
        "{after}"
    );
    ensure!(
        active(&after, "issuing") != active(&before, "issuing"),
        "{after}"
    );
    traffic.renewals(1).await?;
    traffic.lost_nothing().await?;
    Ok(())
}

/// An Envoy on node `b` that holds the bundle and serves nobody.
fn idle_envoy(scene: &Scene) -> Result<Envoy> {
    let bootstrap = Bootstrap {
        sds_socket: &scene.client.socket(),
        identity: CLIENT,
        bundle: "ROOTCA",
        peer: IDLE,
        dialect: Dialect::StateOfTheWorld,
    };
    Envoy::inbound(scene.client.folder(), &bootstrap, scene.service.address())
}

async fn waiting_for(operator: &Command, expected: impl Fn(&[String]) -> bool) -> Result<()> {
    let mut last = Vec::new();
    let seen = wait::until("whom the rotation waits for", wait::BOUND, async || {
        let status = operator.json(&["ca", "status"]).await.ok()?;
        last = serde_json::from_value(status["waiting_for"].clone()).ok()?;
        expected(&last).then_some(())
    });
    let outcome = seen.await;
    outcome.with_context(|| format!("last: {last:?}"))
}

async fn active_root(operator: &Command) -> Result<String> {
    let status = operator.json(&["ca", "status"]).await?;
    active(&status, "roots").context("an active root")
}

/// The key id of the active authority of a kind.
fn active(status: &Value, kind: &str) -> Option<String> {
    let authorities = status[kind].as_array()?;
    let active = authorities.iter().find(|it| it["state"] == "active")?;
    Some(active["key_id"].as_str()?.to_owned())
}
