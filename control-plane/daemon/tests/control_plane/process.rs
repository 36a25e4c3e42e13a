//! The control plane as the system sees it: signals, descriptors, its socket file.

use std::path::Path;
use std::process::Command;

use countersign_proto::admin as wire;
use tokio::net::TcpStream;

use crate::daemon::Daemon;
use crate::harness::{BOUND, status_of, until};

const DATA: &str = "data";

fn signal(daemon: &Daemon, name: &str) {
    let kill = Command::new("kill")
        .args(["-s", name, &daemon.pid().to_string()])
        .status();
    assert!(kill.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn hangup_is_told_and_ends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::configure(folder.path(), Path::new(DATA), "");
    let operator = daemon.start().await;
    signal(&daemon, "HUP");
    until(async || daemon.log().contains("signal ignored")).await;
    status_of(&operator.admin).await.unwrap();
}

/// What systemd-tmpfiles does to a socket whose name nobody has.
#[tokio::test(flavor = "multi_thread")]
async fn removed_admin_socket_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::configure(folder.path(), Path::new(DATA), "");
    let operator = daemon.start().await;
    std::fs::remove_file(daemon.socket()).unwrap();
    until(async || daemon.socket().exists()).await;
    status_of(&operator.admin).await.unwrap();
    until(async || daemon.operator().await.is_some()).await;
}

/// Few descriptors, and more connections than they allow: state and operators go on.
#[tokio::test(flavor = "multi_thread")]
async fn low_limit_of_descriptors_stops_no_operator() {
    const LIMIT: usize = 256;
    let folder = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::configure(folder.path(), Path::new(DATA), "");
    daemon.limit_descriptors(LIMIT);
    let mut operator = daemon.start().await;
    let warned = "few connections: the limit of open files is low";
    assert!(daemon.log().contains(warned), "{}", daemon.log());

    let mut flood = Vec::new();
    for _ in 0..2 * LIMIT {
        flood.push(TcpStream::connect(operator.api).await.unwrap());
    }
    for number in 0..5 {
        let request = wire::CreateTokenRequest {
            node: format!("spiffe://example.org/node/{number}"),
            ttl: Some(countersign_proto::convert::time::duration(BOUND)),
        };
        operator.admin.create_token(request).await.unwrap();
    }
    assert!(daemon.operator().await.is_some(), "{}", daemon.log());
    let log = daemon.log();
    assert!(!log.contains("accept failed"), "{log}");
}
