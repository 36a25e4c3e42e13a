//! A daemon that is killed and comes back, in the middle of everything.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use countersign_tests::control_plane::Settings;
use countersign_tests::envoy::Dialect;
use countersign_tests::sidecar::Listeners;
use countersign_tests::workload::fetch_x509_svid;
use countersign_tests::{Mesh, Registration, wait};
use rustix::process::Signal;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::Instant;

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

/// As operators are promised.
const NOTICED_WITHIN: Duration = Duration::from_secs(10);

/// The kernel of its machine still answers for it: nothing but its silence tells.
#[tokio::test(flavor = "multi_thread")]
async fn sidecar_that_stands_still_is_said_to_be_away() -> Result<()> {
    let mesh = Mesh::start(&Settings::default()).await?;
    mesh.register(&Registration::new(WEB, "a")).await?;
    let sidecar = mesh.sidecar("a", &Listeners::default()).await?;
    sidecar.ready().await?;
    let operator = mesh.operator()?;
    let becomes = async |state: &str| {
        wait::until(state, wait::BOUND, async || {
            let status = operator.json(&["status"]).await.ok()?;
            let node = status["nodes"][0].clone();
            (node["state"] == state).then_some(node)
        })
        .await
    };
    becomes("connected").await?;
    sidecar.process().signal(Signal::STOP)?;
    let since = Instant::now();
    let node = becomes("away").await?;
    let noticed = since.elapsed();
    sidecar.process().signal(Signal::CONT)?;
    eprintln!("noticed after {noticed:?}");
    ensure!(noticed < NOTICED_WITHIN, "noticed after {noticed:?}");
    let rows = node["endpoints"].as_array().context("no endpoints")?;
    ensure!(rows.iter().all(|row| row["state"] == "away"), "{node}");
    becomes("connected").await?;
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

/// What a connection that never answers reads at the end: a GOAWAY frame (RFC 9113 section 6.8).
const GOAWAY: &[u8] = &[0, 0, 8, 7, 0, 0, 0, 0, 0];

#[tokio::test(flavor = "multi_thread")]
async fn sidecar_that_is_told_to_end_tells_its_callers() -> Result<()> {
    let mesh = Mesh::start(&Settings::default()).await?;
    mesh.register(&Registration::new(WEB, "a")).await?;
    let sidecar = mesh.sidecar("a", &Listeners::default()).await?;
    sidecar.ready().await?;
    let mut stream = fetch_x509_svid(&sidecar.socket()).await?;
    ensure!(stream.message().await?.is_some(), "no SVID");
    let mut silent = UnixStream::connect(sidecar.socket()).await?;
    let settings = b"\0\0\0\x04\0\0\0\0\0";
    let greeting = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &settings[..]].concat();
    silent.write_all(&greeting).await?;
    let mut heard = vec![0; settings.len()];
    silent.read_exact(&mut heard).await?;
    // It waits for the silent one as well, and not for long.
    let ended = sidecar.process().terminate(wait::BOUND).await?;
    ensure!(ended.success(), "{ended}");
    let told = stream.message().await;
    let message = told.err().map(|status| status.message().to_owned());
    ensure!(
        message.as_deref() == Some("the sidecar is stopping"),
        "{message:?}"
    );
    let _ = silent.read_to_end(&mut heard).await;
    let is_told = heard.windows(GOAWAY.len()).any(|frame| frame == GOAWAY);
    ensure!(is_told, "{heard:?}");
    Ok(())
}
