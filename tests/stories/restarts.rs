//! A daemon that is killed and comes back, in the middle of everything.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use countersign_tests::control_plane::Settings;
use countersign_tests::envoy::Dialect;
use countersign_tests::sidecar::Listeners;
use countersign_tests::{Mesh, Registration, wait};
use serde_json::Value;

use crate::scene::{CLIENT, Proxy, STEADY, Scene, WEB};

/// Requests that have to pass while something is down.
const MEANWHILE: u64 = 1_000;

#[tokio::test(flavor = "multi_thread")]
async fn control_plane_is_killed_under_load() -> Result<()> {
    let mut scene = Scene::start(Proxy::Sidecar, Proxy::Sidecar, STEADY).await?;
    let traffic = scene.traffic().await?;
    traffic.renewals(1).await?;
    scene.mesh.control_plane().process().kill();
    traffic.requests(MEANWHILE).await?;
    scene.mesh.control_plane_mut().start_again().await?;
    traffic.renewals(2).await?;
    traffic.lost_nothing().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn sidecar_is_killed_behind_its_envoys() -> Result<()> {
    let envoy = Proxy::Envoy(Dialect::Delta);
    let mut scene = Scene::start(envoy, envoy, STEADY).await?;
    let traffic = scene.traffic().await?;
    traffic.renewals(1).await?;
    scene.web.process().kill();
    traffic.requests(MEANWHILE).await?;
    // It comes back from its state, or not at all.
    std::fs::remove_file(scene.web.folder().join("token"))?;
    std::fs::remove_file(scene.web.folder().join("bundle.pem"))?;
    scene.web.start_again()?;
    scene.web.ready().await?;
    traffic.renewals(2).await?;
    traffic.lost_nothing().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn restart_finds_the_same_root_and_issues_nothing() -> Result<()> {
    let mut mesh = Mesh::start(&Settings::default()).await?;
    mesh.register(&Registration::new(WEB, "a")).await?;
    mesh.register(&Registration::new(CLIENT, "a")).await?;
    let sidecar = mesh.sidecar("a", &Listeners::default()).await?;
    sidecar.ready().await?;
    let operator = mesh.operator()?;
    let bundle = operator
        .text(&["bundle", "show", "--format", "pem"])
        .await?;
    let authorities = operator.json(&["ca", "status"]).await?;
    let wanted = settled(&operator).await?;
    ensure!(wanted.len() == 2, "{wanted:?}");

    let ended = mesh
        .control_plane()
        .process()
        .terminate(wait::BOUND)
        .await?;
    ensure!(ended.success(), "the drain ended with {ended}");
    mesh.control_plane_mut().start_again().await?;

    let again = wait::until("the node is back", wait::BOUND, async || {
        let status = operator.json(&["status"]).await.ok()?;
        let connected = status["nodes"][0]["connected"].as_bool()?;
        connected.then_some(())
    });
    again.await?;
    ensure!(
        settled(&operator).await? == wanted,
        "an SVID was issued again"
    );
    let after = operator
        .text(&["bundle", "show", "--format", "pem"])
        .await?;
    ensure!(after == bundle, "another root");
    let after = operator.json(&["ca", "status"]).await?;
    ensure!(
        after["issuing"] == authorities["issuing"] && after["roots"] == authorities["roots"],
        "{after} was {authorities}"
    );
    Ok(())
}

/// The serials that every endpoint wants and has acknowledged.
async fn settled(operator: &countersign_tests::Command) -> Result<BTreeMap<String, String>> {
    wait::until(
        "acknowledged serials",
        Duration::from_secs(20),
        async || {
            let status = operator.json(&["status"]).await.ok()?;
            let endpoints = status["nodes"][0]["endpoints"].as_array()?.clone();
            let serial = |endpoint: &Value| {
                let wanted = endpoint["wanted"].as_str()?.to_owned();
                let same = endpoint["acknowledged"].as_str() == Some(&wanted);
                same.then_some((endpoint["id"].as_str()?.to_owned(), wanted))
            };
            let workload = |endpoint: &&Value| endpoint["entitlement"] != "node";
            let endpoints: Vec<_> = endpoints.iter().filter(workload).collect();
            let serials: Option<BTreeMap<_, _>> = endpoints.iter().map(|&e| serial(e)).collect();
            serials.filter(|serials| !serials.is_empty())
        },
    )
    .await
}
