//! From `register` to the SVID at a subscriber, without polling.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use countersign_proto::admin::admin_client::AdminClient;
use countersign_proto::admin::{self, RegisterRequest};
use countersign_tests::control_plane::Settings;
use countersign_tests::mesh::node_id;
use countersign_tests::sds::Delta;
use countersign_tests::sidecar::Listeners;
use countersign_tests::{Mesh, Registration, wait, workload};

/// Registrations that are measured.
const SAMPLES: usize = 30;
/// Registrations that are there already, of other callers.
const OTHERS: usize = 1_000;
/// Promised on an idle machine with optimised programs: 100 ms. These programs are not optimised,
/// and other stories run beside this one.
const SLACK: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_reaches_its_subscriber() -> Result<()> {
    let mesh = Mesh::start(&Settings::default()).await?;
    mesh.register(&Registration::new("spiffe://example.org/first", "a"))
        .await?;
    let sidecar = mesh.sidecar("a", &Listeners::default()).await?;
    sidecar.ready().await?;
    let alone = measure(&mesh, &sidecar.socket(), "alone").await?;
    register_others(&mesh).await?;
    let among = measure(&mesh, &sidecar.socket(), "among").await?;
    println!("register to SVID, p50: {alone:?} alone, {among:?} among {OTHERS} others");
    ensure!(alone < SLACK && among < SLACK, "{alone:?}, {among:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_the_workload_api_gains_an_identity() -> Result<()> {
    let mesh = Mesh::start(&Settings::default()).await?;
    mesh.register(&Registration::new("spiffe://example.org/first", "a"))
        .await?;
    let sidecar = mesh.sidecar("a", &Listeners::default()).await?;
    sidecar.ready().await?;
    let mut stream = workload::fetch_x509_svid(&sidecar.socket()).await?;
    let first = stream.message().await?.context("no first answer")?;
    ensure!(first.svids.len() == 1, "{} identities", first.svids.len());
    let start = Instant::now();
    mesh.register(&Registration::new("spiffe://example.org/second", "a"))
        .await?;
    let gained = async {
        while let Some(answer) = stream.message().await? {
            if answer.svids.len() == 2 {
                return Ok(start.elapsed());
            }
        }
        anyhow::bail!("the stream ended")
    };
    let took = tokio::time::timeout(wait::BOUND, gained).await??;
    println!("register to a second SVID on an open stream: {took:?}");
    ensure!(took < SLACK, "{took:?}");
    Ok(())
}

/// By the admin API itself: a thousand programs would take longer than a thousand registrations.
async fn register_others(mesh: &Mesh) -> Result<()> {
    let socket = mesh.control_plane().folder().join("admin.sock");
    let mut admin = AdminClient::new(workload::channel(&socket)?);
    for other in 0..OTHERS {
        let registration = admin::Registration {
            id: format!("spiffe://example.org/other/{other}"),
            // Half of them on the node that is measured, beyond what it enrols ahead of demand.
            node: node_id(if other % 2 == 0 { "a" } else { "b" }),
            selectors: vec!["unix:uid:1".to_owned()],
            owner: "team-test".to_owned(),
            criticality: "standard".to_owned(),
            ..admin::Registration::default()
        };
        admin.register(RegisterRequest::whole(registration)).await?;
    }
    Ok(())
}

/// The median, from the start of the verb: the slowest tells of a crowded machine alone.
async fn measure(mesh: &Mesh, socket: &std::path::Path, group: &str) -> Result<Duration> {
    let names: Vec<_> = (0..SAMPLES)
        .map(|sample| format!("spiffe://example.org/{group}/{sample}"))
        .collect();
    let mut stream = Delta::open(socket, &names).await?;
    let mut samples = Vec::with_capacity(SAMPLES);
    for name in &names {
        let start = Instant::now();
        let registration = Registration::new(name, "a");
        let registered = mesh.register(&registration);
        let arrived = tokio::time::timeout(wait::BOUND, stream.resource(name));
        let (registered, arrived) =
            tokio::join!(registered, async { (arrived.await, start.elapsed()) });
        registered?;
        arrived.0.with_context(|| format!("no {name}"))??;
        samples.push(arrived.1);
    }
    samples.sort();
    Ok(samples[samples.len() / 2])
}
