//! A control plane whose state is in PostgreSQL, from outside: real processes, a real server.

use std::path::Path;
use std::process::Output;

use countersign_tests_postgres::{Cluster, shared};
use rcgen::KeyPair;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tonic::Code;

use crate::daemon::{Daemon, Operator};
use crate::disks::{attested, enrol, list, obstacles, register, session};
use crate::harness::*;

fn in_database(folder: &Path, url: &str) -> Daemon {
    let settings = format!("[store]\nurl = \"{url}\"\n");
    Daemon::configure(folder, &folder.join("cp"), &settings)
}

/// Runs the operator's command line.
async fn cli(arguments: &[&str]) -> Output {
    let done = Command::new(countersign()).args(arguments).output();
    tokio::time::timeout(BOUND, done).await.unwrap().unwrap()
}

async fn told(arguments: &[&str]) -> String {
    let done = cli(arguments).await;
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    assert!(done.status.success(), "{}", text(&done.stderr));
    text(&done.stdout)
}

/// What the daemon's probes and metrics say.
async fn get(daemon: &Daemon, path: &str) -> String {
    let log = daemon.log();
    let mut lines = log
        .lines()
        .filter(|line| line.contains("listening") && line.contains("telemetry"));
    let line = lines.next_back().expect("it says where it listens");
    let address = line
        .split(['"', '=', ' '])
        .find(|word| word.starts_with("127.0.0.1:"));
    let mut stream = tokio::net::TcpStream::connect(address.unwrap())
        .await
        .unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn ids(operator: &Operator) -> Vec<String> {
    let mut ids = list(operator).await;
    ids.sort();
    ids
}

/// The database is away: what is known is served, what needs a commit is refused as retryable, a
/// certificate too, and readiness, status and a metric say so until it is back.
#[tokio::test(flavor = "multi_thread")]
async fn database_that_is_away_is_told_and_waited_for() {
    let cluster = Cluster::start();
    let folder = tempfile::tempdir().unwrap();
    let mut daemon = in_database(folder.path(), &cluster.database().url().to_string());
    let operator = daemon.start().await;
    let node = attested(&operator).await;
    let entitlement = register(&operator, WEB).await.unwrap();
    let calls = session(&operator, &node).await;
    let mut stream = calls.discover(hello()).await.unwrap();
    stream.entitled().await;
    assert!(get(&daemon, "/readyz").await.contains("200 OK"));
    assert!(
        get(&daemon, "/metrics")
            .await
            .contains("countersign_store_writable 1")
    );

    cluster.stop();
    // At once that nobody is heard of, and with the next small write that none is taken.
    let writes = "writes to the database 127.0.0.1:";
    until(async || {
        obstacles(&operator)
            .await
            .iter()
            .any(|it| it.contains(writes))
    })
    .await;
    let why = obstacles(&operator).await.join("; ");
    assert!(why.contains("notices of the database 127.0.0.1:"), "{why}");
    let ready = get(&daemon, "/readyz").await;
    assert!(
        ready.contains("503") && ready.contains("writes to the database"),
        "{ready}"
    );
    assert!(
        get(&daemon, "/metrics")
            .await
            .contains("countersign_store_writable 0")
    );
    let refused = register(&operator, "spiffe://example.org/more")
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    assert_eq!(ids(&operator).await, [WEB]);
    // Its entry would be in the log of this disk alone.
    let refused = enrol(&calls, &entitlement).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    session(&operator, &node)
        .await
        .discover(hello())
        .await
        .expect("and streamed");

    cluster.start_again();
    until(async || obstacles(&operator).await.is_empty()).await;
    assert!(
        get(&daemon, "/metrics")
            .await
            .contains("countersign_store_writable 1")
    );
    register(&operator, "spiffe://example.org/more")
        .await
        .unwrap();
    assert_eq!(ids(&operator).await, ["spiffe://example.org/more", WEB]);
    enrol(&calls, &entitlement)
        .await
        .expect("who was refused is renewed");
}

/// From files to a database and back: the same root, the same registrations, the same certificates.
#[tokio::test(flavor = "multi_thread")]
async fn state_is_moved_to_a_database_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let (data_dir, database) = (folder.path().join("cp"), shared().database());
    let (dir, url) = (data_dir.to_str().unwrap(), database.url().to_string());
    let mut daemon = Daemon::configure(folder.path(), &data_dir, "");
    let operator = daemon.start().await;
    let node = attested(&operator).await;
    let entitlement = register(&operator, WEB).await.unwrap();
    let running = cli(&["store", "copy", "--from", dir, "--to", &url]).await;
    let why = String::from_utf8(running.stderr).unwrap();
    assert!(why.contains("in use by another control plane"), "{why}");
    daemon.kill().await;
    drop(daemon);

    let unusable = cli(&["store", "check", "--url", &url]).await;
    assert_eq!(unusable.status.code(), Some(1), "no tables yet");
    assert!(
        told(&["store", "migrate", "--url", &url])
            .await
            .contains("tables of version 3 made")
    );
    assert!(
        told(&["store", "migrate", "--url", &url])
            .await
            .contains("nothing to do")
    );
    let copied = told(&["store", "copy", "--from", dir, "--to", &url]).await;
    assert!(copied.contains("compared one by one"), "{copied}");
    assert!(!copied.contains(database.url().password()), "{copied}");
    let checked = told(&["--json", "store", "check", "--url", &url]).await;
    let checked: serde_json::Value = serde_json::from_str(&checked).unwrap();
    assert_eq!(checked["usable"], true, "{checked}");
    assert_eq!(checked["tls"], "TLSv1.3", "{checked}");
    assert_eq!(checked["superuser"], false, "{checked}");

    let mut daemon = in_database(folder.path(), &url);
    let moved = daemon.start().await;
    let socket = daemon.socket();
    let socket = ["--admin-socket", socket.to_str().unwrap()];
    let listed = told(&[&socket[..], &["replica", "list", "--json"]].concat()).await;
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed["items"][0]["state"], "joined", "{listed}");
    assert_eq!(moved.bundle.version(), operator.bundle.version());
    assert_eq!(ids(&moved).await, [WEB]);
    let calls = session(&moved, &node).await;
    enrol(&calls, &entitlement).await.unwrap();
    register(&moved, "spiffe://example.org/more").await.unwrap();
    daemon.kill().await;
    drop(daemon);

    told(&["store", "copy", "--from", &url, "--to", dir]).await;
    let mut refused = in_database(folder.path(), &url);
    refused.spawn();
    until(async || refused.log().contains("two_states") || refused.log().contains("store.url"))
        .await;
    drop(refused);
    let mut daemon = Daemon::configure(folder.path(), &data_dir, "");
    let back = daemon.start().await;
    assert_eq!(back.bundle.version(), operator.bundle.version());
    assert_eq!(ids(&back).await, ["spiffe://example.org/more", WEB]);
    let calls = session(&back, &node).await;
    enrol(&calls, &entitlement).await.unwrap();
    // The file that was set aside holds what it held.
    let kept = std::fs::read_dir(&data_dir).unwrap();
    let names = kept.map(|it| it.unwrap().file_name().into_string().unwrap());
    assert!(
        names
            .into_iter()
            .any(|name| name.starts_with("state.db.copied-"))
    );
}

/// The key that was made for the first attestation works whatever keeps the state.
#[tokio::test(flavor = "multi_thread")]
async fn start_without_the_database_is_told_and_leaves_nothing() {
    let cluster = Cluster::start();
    let folder = tempfile::tempdir().unwrap();
    let url = cluster.database().url().to_string();
    cluster.stop();
    let mut daemon = in_database(folder.path(), &url);
    daemon.spawn();
    until(async || daemon.log().contains("127.0.0.1:")).await;
    let log = daemon.log();
    assert!(log.contains("connect"), "{log}");
    assert!(!log.contains(&url), "the password is not told: {log}");
    assert!(
        !folder
            .path()
            .join("cp/keys")
            .read_dir()
            .is_ok_and(|mut it| it.next().is_some())
    );
    cluster.start_again();
    let mut daemon = in_database(folder.path(), &url);
    let operator = daemon.start().await;
    let node = attested(&operator).await;
    let key = KeyPair::generate().unwrap();
    session(&operator, &node)
        .await
        .enrol("node", &key)
        .await
        .unwrap();
}
