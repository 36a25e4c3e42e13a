//! Who gets an identity on a node, and who loses it.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use countersign_model::SpiffeId;
use countersign_tests::control_plane::Settings;
use countersign_tests::sidecar::Listeners;
use countersign_tests::workload::{Identity, fetch_x509_svid};
use countersign_tests::{Command, Mesh, Registration, binaries, load, sds, wait};
use tonic::Code;

use crate::scene::{CLIENT, Proxy, STEADY, Scene, WEB};

const OTHER: &str = "spiffe://example.org/other";
/// A uid that nobody here has.
const STRANGER: u32 = 54_321;

#[tokio::test(flavor = "multi_thread")]
async fn py_spiffe_fetches_its_svid() -> Result<()> {
    let mesh = Mesh::start(&Settings::default()).await?;
    mesh.register(&Registration::new(WEB, "a")).await?;
    let sidecar = mesh.sidecar("a", &Listeners::default()).await?;
    sidecar.ready().await?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("stories/fetch_svid.py");
    let socket = format!("unix://{}", sidecar.socket().display());
    let python = Command::new(binaries::python()?);
    let printed = python.text(&[&script.to_string_lossy(), &socket]).await?;
    ensure!(printed.trim() == WEB, "{printed}");
    Ok(())
}

/// What a caller shows narrows what its own node may hand out; it reaches nothing beyond.
#[tokio::test(flavor = "multi_thread")]
async fn a_claimed_selector_never_chooses_an_identity() -> Result<()> {
    let mesh = Mesh::start(&Settings::default()).await?;
    mesh.register(&Registration::new(WEB, "a")).await?;
    // The same caller would satisfy this one, on the node that it is for.
    mesh.register(&Registration::new(OTHER, "b")).await?;
    let sidecar = mesh.sidecar("a", &Listeners::default()).await?;
    sidecar.ready().await?;
    let mut stream = fetch_x509_svid(&sidecar.socket()).await?;
    let answer = stream.message().await?.context("no answer")?;
    let ids: Vec<_> = answer.svids.iter().map(|svid| &svid.spiffe_id).collect();
    ensure!(ids == [WEB], "{ids:?}");
    let answer = sds::fetch(&sidecar.socket(), &[OTHER]).await?;
    ensure!(answer.resources.is_empty(), "an identity of another node");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_without_registration_gets_nothing() -> Result<()> {
    let mesh = Mesh::start(&Settings::default()).await?;
    mesh.register(&Registration::new(OTHER, "a").for_uid(STRANGER))
        .await?;
    let sidecar = mesh.sidecar("a", &Listeners::default()).await?;
    sidecar.ready().await?;
    let refused = fetch_x509_svid(&sidecar.socket()).await;
    let status = match refused {
        Err(status) => status,
        Ok(mut stream) => stream.message().await.err().context("an answer")?,
    };
    ensure!(status.code() == Code::PermissionDenied, "{status:?}");
    let answer = sds::fetch(&sidecar.socket(), &[OTHER, "default", "ROOTCA"]).await;
    let given = answer.map_or(0, |answer| answer.resources.len());
    ensure!(given == 0, "{given} secrets for a caller without identity");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_name_is_absent_alone() -> Result<()> {
    let mesh = Mesh::start(&Settings::default()).await?;
    mesh.register(&Registration::new(WEB, "a")).await?;
    mesh.register(&Registration::new(OTHER, "a").for_uid(STRANGER))
        .await?;
    let sidecar = mesh.sidecar("a", &Listeners::default()).await?;
    sidecar.ready().await?;
    let names = [
        "nobody",
        OTHER,
        "spiffe://elsewhere/x",
        "spiffe://example.org/node/a",
        WEB,
        "ROOTCA",
        "ALL",
        "default",
    ];
    let names = names.map(str::to_owned);
    let mut stream = sds::Delta::open(&sidecar.socket(), &names).await?;
    let mut given = std::collections::BTreeSet::new();
    while given.len() < 4 {
        let response = tokio::time::timeout(wait::BOUND, stream.next()).await??;
        given.extend(response.resources.into_iter().map(|it| it.name));
    }
    let expected = [WEB, "ROOTCA", "ALL", "default"].map(str::to_owned);
    ensure!(given == expected.into(), "{given:?}");
    Ok(())
}

/// `a_removed_right_stops_within_the_bound_while_connected`
#[tokio::test(flavor = "multi_thread")]
async fn unregister_takes_the_identity_away_at_once() -> Result<()> {
    let scene = Scene::start(Proxy::Sidecar, Proxy::Sidecar, STEADY).await?;
    let client = SpiffeId::new(CLIENT)?;
    let held = Identity::follow(&scene.client.socket(), &client).await?;
    ask(&scene).await.context("before")?;
    let answer = scene
        .mesh
        .operator()?
        .json(&["unregister", "--id", CLIENT])
        .await?;
    ensure!(answer["valid_until"].is_string(), "{answer}");
    wait::until("the proxy lost the identity", wait::BOUND, async || {
        ask(&scene).await.err()
    })
    .await?;
    wait::until(
        "the socket lost the identity",
        wait::BOUND,
        async || match fetch_x509_svid(&scene.client.socket()).await {
            Err(status) => Some(status),
            Ok(mut stream) => stream.message().await.err(),
        },
    )
    .await?;
    ensure!(!held.serials().is_empty(), "nothing was held before");
    Ok(())
}

/// One request over a connection of its own.
async fn ask(scene: &Scene) -> Result<()> {
    let stream = tokio::net::TcpStream::connect(scene.route.tcp).await?;
    load::client::exchange_once(stream).await
}
