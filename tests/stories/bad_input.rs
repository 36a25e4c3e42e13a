//! The rows of "bad input gets".

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Result, ensure};
use countersign_tests::command::Answer;
use countersign_tests::control_plane::Settings;
use countersign_tests::sidecar::Listeners;
use countersign_tests::{Command, Mesh, Registration, binaries, fetch, ports, wait, workload};
use tempfile::TempDir;

use crate::scene::{Proxy, STEADY, Scene, WEB};

#[tokio::test]
async fn every_mistake_of_a_control_plane_is_in_one_report() -> Result<()> {
    let config = r#"trust_domain = "Not A Domain"
surplus = 1
[api]
listen = "nowhere"
[telemetry]
listen = 9464
[svid]
x509_ttl = "soon"
renew_at = 7
"#;
    let keys = [
        "trust_domain",
        "surplus",
        "api.listen",
        "telemetry.listen",
        "svid.x509_ttl",
        "svid.renew_at",
    ];
    reports_every_mistake("countersign-control-plane", config, &keys).await
}

#[tokio::test]
async fn every_mistake_of_a_sidecar_is_in_one_report() -> Result<()> {
    let config = r#"trust_domain = ""
[control_plane]
address = "http://plain"
[attestation]
method = "trust me"
[[inbound]]
listen = "127.0.0.1:0"
forward = "127.0.0.1:1"
identity = "spiffe://example.org/web"
allow = []
[[outbound]]
listen = "127.0.0.1:0"
identity = "spiffe://example.org/web"
expect = ["web"]
colour = "red"
"#;
    let keys = [
        "trust_domain",
        "control_plane.address",
        "attestation.method",
        "inbound[0].allow",
        "outbound[0].connect",
        "outbound[0].expect",
        "outbound[0].colour",
    ];
    reports_every_mistake("countersign-sidecar", config, &keys).await
}

/// Runs a program whose stdout nobody reads any more, as behind `| head`.
async fn unread(program: &str, arguments: &[&str]) -> Result<()> {
    let (reader, writer) = std::io::pipe()?;
    drop(reader);
    let ended = tokio::process::Command::new(binaries::ours(program)?)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(writer)
        .stderr(Stdio::piped())
        .output();
    let ended = tokio::time::timeout(wait::BOUND, ended).await??;
    let said = String::from_utf8_lossy(&ended.stderr);
    ensure!(
        ended.status.code() == Some(0) && said.is_empty(),
        "{program} {arguments:?}: {:?}, {said}",
        ended.status
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_went_away_is_no_failure() -> Result<()> {
    let mesh = Mesh::start(&Settings::default()).await?;
    mesh.register(&Registration::new(WEB, "a")).await?;
    let sidecar = mesh.sidecar("a", &Listeners::default()).await?;
    sidecar.ready().await?;
    let file = sidecar.folder().join("sidecar.toml");
    let file = file.to_string_lossy();
    for arguments in [
        &["--json", "status", "--config", &*file][..],
        &["status", "--config", &*file],
        &["--json", "config", "check", "--config", &*file],
        &["completions", "bash"],
        &["--help"],
    ] {
        unread("countersign-sidecar", arguments).await?;
    }
    let file = mesh.control_plane().folder().join("control-plane.toml");
    let file = file.to_string_lossy();
    for arguments in [
        &["config", "check", "--config", &*file][..],
        &["completions", "bash"],
    ] {
        unread("countersign-control-plane", arguments).await?;
    }
    let socket = mesh.control_plane().folder().join("admin.sock");
    let socket = socket.to_string_lossy();
    for verb in ["status", "certs list"] {
        let verb = verb
            .split(' ')
            .chain(["--json", "--admin-socket", &*socket]);
        unread("countersign", &verb.collect::<Vec<_>>()).await?;
    }
    unread("countersign", &["completions", "bash"]).await
}

/// Both by `config check` and by `run`, which starts nothing.
async fn reports_every_mistake(program: &str, config: &str, keys: &[&str]) -> Result<()> {
    let folder = TempDir::new()?;
    let file = folder.path().join("bad.toml");
    std::fs::write(&file, config)?;
    let path = file.to_string_lossy();
    let daemon = Command::new(binaries::ours(program)?);
    for verb in [
        &["config", "check", "--config", &path][..],
        &["run", "--config", &path],
    ] {
        let answer = daemon.run(verb).await?;
        ensure!(answer.code == Some(2), "{verb:?}: {answer:?}");
        for key in keys {
            ensure!(
                answer.stderr.contains(key),
                "{verb:?} does not name {key}: {}",
                answer.stderr
            );
        }
        ensure!(answer.stderr.contains("bad.toml"), "{}", answer.stderr);
    }
    ensure!(
        std::fs::read_dir(folder.path())?.count() == 1,
        "something was started"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_named_with_its_setting() -> Result<()> {
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?;
    let folder = TempDir::new()?;
    let config = format!(
        "trust_domain = \"example.org\"\ndata_dir = \"./data\"\n[api]\nlisten = \"{address}\"\n\
         [admin]\nsocket = \"./admin.sock\"\n[telemetry]\nlisten = \"127.0.0.1:0\"\n"
    );
    let answer = run_control_plane(folder.path(), &config).await?;
    ensure!(answer.code == Some(2), "{answer:?}");
    for fact in [address.to_string().as_str(), "api.listen"] {
        ensure!(answer.stderr.contains(fact), "no {fact}: {answer:?}");
    }
    Ok(())
}

async fn run_control_plane(folder: &Path, config: &str) -> Result<Answer> {
    let file = folder.join("control-plane.toml");
    std::fs::write(&file, config)?;
    Command::new(binaries::ours("countersign-control-plane")?)
        .run(&["run", "--config", &file.to_string_lossy()])
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_socket_is_replaced_and_a_live_one_is_not() -> Result<()> {
    let mut mesh = Mesh::start(&Settings::default()).await?;
    // Killed: its socket file stays behind, and nobody listens on it.
    mesh.control_plane().process().kill();
    ensure!(
        mesh.control_plane().folder().join("admin.sock").exists(),
        "no stale socket"
    );
    mesh.control_plane_mut().start_again().await?;
    mesh.operator()?.json(&["status"]).await?;

    let folder = TempDir::new()?;
    let socket = mesh.control_plane().folder().join("admin.sock");
    let config = format!(
        "trust_domain = \"example.org\"\ndata_dir = \"./data\"\n[api]\nlisten = \"127.0.0.1:0\"\n\
         [admin]\nsocket = \"{}\"\n[telemetry]\nlisten = \"127.0.0.1:0\"\n",
        socket.display()
    );
    let answer = run_control_plane(folder.path(), &config).await?;
    ensure!(answer.code == Some(2), "{answer:?}");
    ensure!(answer.stderr.contains("admin.socket"), "{answer:?}");
    mesh.operator()?.json(&["status"]).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_dir_that_is_no_folder_is_named() -> Result<()> {
    let folder = TempDir::new()?;
    std::fs::write(folder.path().join("data"), "mine")?;
    let config = "trust_domain = \"example.org\"\ndata_dir = \"./data\"\n[api]\nlisten = \"127.0.0.1:0\"\n\
                  [admin]\nsocket = \"./admin.sock\"\n[telemetry]\nlisten = \"127.0.0.1:0\"\n";
    let answer = run_control_plane(folder.path(), config).await?;
    ensure!(matches!(answer.code, Some(2..=4)), "{answer:?}");
    ensure!(answer.stderr.contains("data"), "{answer:?}");
    ensure!(
        std::fs::read_to_string(folder.path().join("data"))? == "mine",
        "it was changed"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_control_planes_never_share_a_folder() -> Result<()> {
    let mesh = Mesh::start(&Settings::default()).await?;
    let config = mesh.control_plane().folder().join("second.toml");
    let text = format!(
        "trust_domain = \"example.org\"\ndata_dir = \"./data\"\n[api]\nlisten = \"127.0.0.1:0\"\n\
         [admin]\nsocket = \"./second.sock\"\n[telemetry]\nlisten = \"{}\"\n",
        ports::reserve()
    );
    std::fs::write(&config, text)?;
    let answer = Command::new(binaries::ours("countersign-control-plane")?)
        .run(&["run", "--config", &config.to_string_lossy()])
        .await?;
    ensure!(
        answer.code == Some(2) || answer.code == Some(3),
        "{answer:?}"
    );
    mesh.operator()?.json(&["status"]).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn junk_bytes_harm_only_their_connection() -> Result<()> {
    let scene = Scene::start(Proxy::Sidecar, Proxy::Sidecar, STEADY).await?;
    let traffic = scene.traffic().await?;
    let control_plane = scene.mesh.control_plane();
    let ports = [
        control_plane.api(),
        control_plane.telemetry(),
        scene.web.telemetry(),
        scene.client.telemetry(),
        scene.door,
    ];
    let sockets = [
        control_plane.folder().join("admin.sock"),
        scene.web.socket(),
        scene.client.socket(),
    ];
    for port in ports {
        throw_at_port(port)?;
    }
    for socket in &sockets {
        throw_at_socket(socket)?;
    }
    traffic.renewals(1).await?;
    for telemetry in [
        control_plane.telemetry(),
        scene.web.telemetry(),
        scene.client.telemetry(),
    ] {
        ensure!(fetch::is_ready(telemetry).await, "{telemetry} is not ready");
    }
    scene.mesh.operator()?.json(&["status"]).await?;
    traffic.lost_nothing().await?;
    Ok(())
}

const JUNK: [&[u8]; 4] = [
    b"\x00\xff\x00\xff junk",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\x16\x03\x01\xff\xff\x01",
    b"GET /\x00 HTTP/9.9\r\n\r\n",
];

fn throw_at_port(address: SocketAddr) -> Result<()> {
    for junk in JUNK {
        let mut stream = std::net::TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
        // It may hang up before it has read everything.
        let _ = stream.write_all(junk);
    }
    Ok(())
}

fn throw_at_socket(socket: &Path) -> Result<()> {
    for junk in JUNK {
        let mut stream = UnixStream::connect(socket)?;
        // It may hang up before it has read everything.
        let _ = stream.write_all(junk);
    }
    Ok(())
}

#[tokio::test]
async fn an_id_is_judged_with_the_rule_that_it_breaks() -> Result<()> {
    let operator = Command::operator()?;
    let good = operator.run(&["id", "check", WEB]).await?;
    ensure!(good.code == Some(0), "{good:?}");
    for bad in [
        "spiffe://Example.org/web",
        "https://example.org/web",
        "spiffe://example.org/a//b",
        "",
    ] {
        let answer = operator.run(&["id", "check", bad]).await?;
        ensure!(answer.code == Some(1), "{bad:?}: {answer:?}");
        ensure!(
            !(answer.stdout + &answer.stderr).trim().is_empty(),
            "{bad:?}: no rule"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_is_judged_offline() -> Result<()> {
    let mesh = Mesh::start(&Settings::default()).await?;
    mesh.register(&Registration::new(WEB, "a")).await?;
    let sidecar = mesh.sidecar("a", &Listeners::default()).await?;
    sidecar.ready().await?;
    let mut stream = workload::fetch_x509_svid(&sidecar.socket()).await?;
    let answer = stream.message().await?.unwrap_or_default();
    let chain = workload::certificates(&answer.svids[0].x509_svid)?;
    let chain_file = mesh.folder().join("chain.pem");
    std::fs::write(&chain_file, workload::to_pem(&chain))?;
    let bundle_file = sidecar.folder().join("bundle.pem");
    let (bundle, chain) = (bundle_file.to_string_lossy(), chain_file.to_string_lossy());
    let verify = ["verify", "--bundle", &bundle, "--chain", &chain];
    let judge = async |more: &[&str]| Command::operator()?.run(&[&verify, more].concat()).await;
    let cases: [(&[&str], i32); 4] = [
        (&["--trust-domain", "example.org"], 0),
        (&["--trust-domain", "elsewhere"], 1),
        (&["--at", "2001-01-01T00:00:00Z"], 1),
        (&["--at", "tomorrow"], 2),
    ];
    for (more, code) in cases {
        let answer = judge(more).await?;
        ensure!(answer.code == Some(code), "{more:?}: {answer:?}");
    }
    Ok(())
}

#[tokio::test]
async fn an_absent_control_plane_is_unreachable() -> Result<()> {
    let folder = TempDir::new()?;
    let operator =
        Command::operator()?.with_path("--admin-socket", &folder.path().join("none.sock"));
    let started = std::time::Instant::now();
    let answer = operator.run(&["status", "--json"]).await?;
    ensure!(answer.code == Some(4), "{answer:?}");
    ensure!(answer.error()?["remedy"].is_string(), "{answer:?}");
    ensure!(
        started.elapsed() < wait::BOUND,
        "took {:?}",
        started.elapsed()
    );
    Ok(())
}
