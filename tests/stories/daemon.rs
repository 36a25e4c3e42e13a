//! What the daemons show of themselves: files, processes, probes, logs.

use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use countersign_tests::control_plane::Settings;
use countersign_tests::sidecar::Listeners;
use countersign_tests::{Mesh, Process, Registration, Sidecar, binaries, fetch, ports};
use http::StatusCode;

use crate::scene::WEB;

async fn daemons() -> Result<(Mesh, Sidecar)> {
    let mesh = Mesh::start(&Settings::default()).await?;
    mesh.register(&Registration::new(WEB, "a")).await?;
    let sidecar = mesh.sidecar("a", &Listeners::default()).await?;
    sidecar.ready().await?;
    Ok((mesh, sidecar))
}

#[tokio::test(flavor = "multi_thread")]
async fn state_is_readable_by_its_owner_alone() -> Result<()> {
    let (mesh, sidecar) = daemons().await?;
    let data = mesh.control_plane().folder().join("data");
    for folder in [data, sidecar.folder().join("state")] {
        let entries = all_below(&folder)?;
        ensure!(entries.len() > 1, "{} is empty", folder.display());
        for path in entries {
            let metadata = std::fs::metadata(&path)?;
            let mode = metadata.permissions().mode() & 0o777;
            let expected = if metadata.is_dir() { 0o700 } else { 0o600 };
            ensure!(mode == expected, "{} has mode {mode:o}", path.display());
        }
    }
    let admin = mode(&mesh.control_plane().folder().join("admin.sock"))?;
    ensure!(admin == 0o600, "admin socket: {admin:o}");
    let socket = mode(&sidecar.socket())?;
    ensure!(socket == 0o666, "workload socket: {socket:o}");
    Ok(())
}

fn mode(path: &Path) -> Result<u32> {
    Ok(std::fs::metadata(path)?.permissions().mode() & 0o777)
}

fn all_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = vec![folder.to_owned()];
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(all_below(&path)?);
        } else {
            found.push(path);
        }
    }
    Ok(found)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_daemon_leaves_a_core() -> Result<()> {
    let (mesh, sidecar) = daemons().await?;
    for process in [mesh.control_plane().process(), sidecar.process()] {
        let limits = format!("/proc/{}/limits", process.pid().as_raw_pid());
        let limits = std::fs::read_to_string(limits)?;
        let core = limits
            .lines()
            .find_map(|line| line.strip_prefix("Max core file size"))
            .context("no core limit")?;
        let values: Vec<_> = core.split_whitespace().take(2).collect();
        ensure!(values == ["0", "0"], "{core}");
    }
    Ok(())
}

/// The kernel gives the files in `/proc/<pid>` of a process that is not dumpable to root: nobody
/// else reads its memory, not even another process of its own uid.
#[tokio::test(flavor = "multi_thread")]
async fn memory_is_kept_from_every_other_process() -> Result<()> {
    const UID: u32 = 54_321;
    let folder = tempfile::TempDir::new()?;
    let program = folder.path().join("control-plane");
    std::fs::copy(binaries::ours("countersign-control-plane")?, &program)?;
    let telemetry = ports::reserve();
    let config = format!(
        "trust_domain = \"example.org\"\ndata_dir = \"./data\"\n[api]\nlisten = \"127.0.0.1:0\"\n\
         [admin]\nsocket = \"./admin.sock\"\n[telemetry]\nlisten = \"{telemetry}\"\n"
    );
    std::fs::write(folder.path().join("config.toml"), config)?;
    for path in all_below(folder.path())? {
        std::os::unix::fs::chown(path, Some(UID), Some(UID))
            .context("this story runs programs as another user: run it as root")?;
    }
    let uid = UID.to_string();
    let arguments = [
        "--reuid",
        &uid,
        "--regid",
        &uid,
        "--clear-groups",
        &program.to_string_lossy(),
        "run",
        "--config",
        "config.toml",
    ];
    let setpriv = Path::new("/usr/bin/setpriv");
    let process = Process::start("stranger", setpriv, &arguments, folder.path())?;
    process
        .wait_for("ready control plane", async |_| {
            fetch::is_ready(telemetry).await.then_some(())
        })
        .await?;
    let proc = PathBuf::from(format!("/proc/{}", process.pid().as_raw_pid()));
    let status = std::fs::read_to_string(proc.join("status"))?;
    ensure!(status.contains(&format!("Uid:\t{UID}")), "{status}");
    let owner = std::fs::metadata(proc.join("mem"))?.uid();
    ensure!(owner == 0, "its memory belongs to uid {owner}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_and_metrics_answer() -> Result<()> {
    let (mesh, sidecar) = daemons().await?;
    for telemetry in [mesh.control_plane().telemetry(), sidecar.telemetry()] {
        for path in ["/livez", "/readyz", "/healthz"] {
            let (status, body) = fetch::get(telemetry, path).await?;
            ensure!(status == StatusCode::OK, "{path}: {status} {body}");
        }
        let (status, metrics) = fetch::get(telemetry, "/metrics").await?;
        ensure!(status == StatusCode::OK, "{status}");
        let ours = metrics
            .lines()
            .filter(|line| line.starts_with("countersign_"));
        ensure!(ours.count() > 3, "{metrics}");
        let page = match telemetry == sidecar.telemetry() {
            true => "sidecar-metrics.md",
            false => "control-plane-metrics.md",
        };
        let unlisted =
            countersign_reference::unlisted(&countersign_reference::written(page), &metrics);
        ensure!(unlisted.is_empty(), "run `make reference`: {unlisted:?}");
        let is_sidecar = telemetry == sidecar.telemetry();
        let sockets: [&str; 2] = match is_sidecar {
            true => ["workload_api", "status"],
            false => ["api", "admin"],
        };
        for listener in sockets {
            let places = format!(r#"listener_places{{listener="{listener}",kind="connections"}}"#);
            ensure!(metrics.contains(&places), "{places} in {metrics}");
        }
        let (status, _) = fetch::get(telemetry, "/elsewhere").await?;
        ensure!(status == StatusCode::NOT_FOUND, "{status}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_listener_logs_its_address() -> Result<()> {
    let (mesh, sidecar) = daemons().await?;
    let control_plane = mesh.control_plane();
    let addresses = listening(control_plane.process());
    for address in [control_plane.api(), control_plane.telemetry()] {
        ensure!(
            addresses.contains(&address.to_string()),
            "no {address} in {addresses:?}"
        );
    }
    let addresses = listening(sidecar.process());
    let address: SocketAddr = sidecar.telemetry();
    ensure!(
        addresses.contains(&address.to_string()),
        "no {address} in {addresses:?}"
    );
    let status = mesh.operator()?.json(&["status"]).await?;
    ensure!(
        status["api_address"] == control_plane.api().to_string(),
        "{status}"
    );
    Ok(())
}

/// The addresses of all `listening` lines.
fn listening(process: &Process) -> Vec<String> {
    let events = process.events();
    let fields = events
        .iter()
        .map(|event| event.get("fields").unwrap_or(event));
    fields
        .filter(|fields| fields["message"] == "listening")
        .filter_map(|fields| Some(fields["address"].as_str()?.to_owned()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_a_log() -> Result<()> {
    let (mesh, sidecar) = daemons().await?;
    let token = std::fs::read_to_string(sidecar.folder().join("token"))?;
    for process in [mesh.control_plane().process(), sidecar.process()] {
        let log = process.log();
        ensure!(!log.contains("PRIVATE KEY"), "a key is in the log");
        ensure!(!log.contains(token.trim()), "the join token is in the log");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn sidecar_status_says_what_is_held() -> Result<()> {
    let (_mesh, sidecar) = daemons().await?;
    let status = sidecar.status().await?.to_string();
    ensure!(status.contains(WEB), "{status}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_ends_with_success() -> Result<()> {
    let (mesh, sidecar) = daemons().await?;
    let bound = countersign_tests::wait::BOUND;
    let ended = sidecar.process().terminate(bound).await?;
    ensure!(ended.success(), "sidecar: {ended}");
    let ended = mesh.control_plane().process().terminate(bound).await?;
    ensure!(ended.success(), "control plane: {ended}");
    Ok(())
}
