//! What happens around a sidecar: a signal, a cleaned folder, few descriptors, silent callers.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use countersign_tests::control_plane::Settings;
use countersign_tests::sidecar::{Inbound, Listeners};
use countersign_tests::{Mesh, Process, Registration, Sidecar, binaries, fetch, ports, sds, wait};
use http::StatusCode;
use rustix::process::Signal;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::scene::WEB;

/// A hard limit of open files as a container or an old unit file sets it.
const FEW_DESCRIPTORS: usize = 1_024;
/// Half-open connections that once failed the liveness probe, and more.
const HALF_OPEN: usize = 400;

async fn mesh(listeners: &Listeners) -> Result<(Mesh, Sidecar)> {
    let mesh = Mesh::start(&Settings::default()).await?;
    mesh.register(&Registration::new(WEB, "a")).await?;
    let sidecar = mesh.sidecar("a", listeners).await?;
    sidecar.ready().await?;
    Ok((mesh, sidecar))
}

/// An identity comes over the socket, as soon as there is one.
async fn serves(socket: &Path) -> Result<()> {
    wait::until("an identity", wait::BOUND, async || {
        let answer = timeout(wait::BOUND, sds::fetch(socket, &[WEB])).await;
        let answer = answer.ok()?.ok()?;
        (answer.resources.len() == 1).then_some(())
    })
    .await
}

async fn is_alive(telemetry: SocketAddr) -> Result<()> {
    let answer = timeout(wait::BOUND, fetch::get(telemetry, "/livez"));
    let (status, body) = answer.await.context("no answer of /livez")??;
    ensure!(status == StatusCode::OK, "{status} {body}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn hangup_ends_no_sidecar() -> Result<()> {
    let (_mesh, sidecar) = mesh(&Listeners::default()).await?;
    sidecar.process().signal(Signal::HUP)?;
    let said = "SIGHUP";
    let told = async |process: &Process| process.log().contains(said).then_some(());
    sidecar
        .process()
        .wait_for("word of the signal", told)
        .await?;
    serves(&sidecar.socket()).await?;
    is_alive(sidecar.telemetry()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn removed_sockets_come_back_in_both_daemons() -> Result<()> {
    let (mesh, sidecar) = mesh(&Listeners::default()).await?;
    let admin = mesh.control_plane().folder().join("admin.sock");
    let sockets = [
        sidecar.socket(),
        sidecar.folder().join("state/status.sock"),
        admin,
    ];
    for socket in &sockets {
        std::fs::remove_file(socket).with_context(|| socket.display().to_string())?;
    }
    for socket in &sockets {
        let what = format!("socket {}", socket.display());
        wait::until(&what, wait::BOUND, async || {
            UnixStream::connect(socket).await.ok()
        })
        .await?;
    }
    serves(&sidecar.socket()).await?;
    sidecar.status().await?;
    mesh.register(&Registration::new(format!("{WEB}-2"), "a"))
        .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn few_descriptors_leave_probes_and_workloads_theirs() -> Result<()> {
    let inbound = Inbound {
        listen: ports::reserve(),
        forward: ports::reserve(),
        identity: WEB,
        allow: "spiffe://example.org/client",
    };
    let listen = inbound.listen;
    let listeners = Listeners {
        inbound: vec![inbound],
        ..Listeners::default()
    };
    let (_mesh, sidecar) = mesh(&listeners).await?;
    sidecar.process().terminate(wait::BOUND).await?;
    let program = binaries::ours("countersign-sidecar")?;
    let limited = format!(r#"ulimit -n {FEW_DESCRIPTORS} && exec "$@""#);
    let program = program.to_string_lossy();
    let arguments = [
        "-c",
        &limited,
        "sh",
        &program,
        "run",
        "--config",
        "sidecar.toml",
    ];
    let process = Process::start("limited", Path::new("sh"), &arguments, sidecar.folder())?;
    let ready = async |_: &Process| fetch::is_ready(sidecar.telemetry()).await.then_some(());
    process.wait_for("ready sidecar", ready).await?;
    let warning = "the limit of open files is low";
    ensure!(process.log().contains(warning), "{}", process.log());
    // More than it has descriptors for, of each kind that a neighbour can open.
    let mut held = Vec::new();
    for _ in 0..FEW_DESCRIPTORS {
        held.push(TcpStream::connect(listen).await?);
    }
    let mut callers = Vec::new();
    for _ in 0..FEW_DESCRIPTORS {
        callers.extend(UnixStream::connect(sidecar.socket()).await.ok());
    }
    is_alive(sidecar.telemetry()).await?;
    let log = process.log();
    ensure!(!log.contains("Too many open files"), "{log}");
    drop(callers);
    serves(&sidecar.socket()).await?;
    drop(held);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn half_open_connections_fail_no_probe() -> Result<()> {
    let (mesh, sidecar) = mesh(&Listeners::default()).await?;
    for telemetry in [mesh.control_plane().telemetry(), sidecar.telemetry()] {
        let mut held = Vec::new();
        for _ in 0..HALF_OPEN {
            held.push(TcpStream::connect(telemetry).await?);
        }
        is_alive(telemetry).await?;
        ensure!(fetch::is_ready(telemetry).await, "not ready");
        drop(held);
    }
    Ok(())
}
