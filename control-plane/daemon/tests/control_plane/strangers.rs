//! Connections of whoever has no identity: they take nothing from the nodes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rcgen::KeyPair;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::daemon::Daemon;
use crate::harness::*;
use crate::shapes::{get, scrape};

/// More than strangers have places for.
const FLOOD: usize = 600;
/// Places of strangers.
const PLACES: usize = 512;
/// Dialled at once: more only wait for each other.
const AT_ONCE: usize = 32;
/// Connections to the listener of probes that never send a whole request: more than have places.
const HALF_OPEN: usize = 270;
/// What a probe waits for, whatever they are: 1 s on a machine that does nothing else. After 10 s the
/// half-open ones are gone.
const PROBE_WITHIN: Duration = Duration::from_secs(8);

/// So many sessions without a certificate that answer every ping.
async fn strangers(plane: &Plane, count: usize) -> Vec<Session> {
    let bundle = Arc::new(plane.bundle().await);
    let address = plane.running().api_address();
    let mut dialling = JoinSet::new();
    let mut sessions = Vec::new();
    for _ in 0..count {
        if dialling.len() >= AT_ONCE {
            sessions.extend(dialling.join_next().await.unwrap().unwrap());
        }
        let bundle = bundle.clone();
        dialling.spawn(async move { dial(address, &bundle, None).await.ok() });
    }
    sessions.extend(dialling.join_all().await.into_iter().flatten());
    sessions
}

#[tokio::test(flavor = "multi_thread")]
async fn known_node_enrols_whatever_strangers_hold() {
    let plane = Plane::start().await;
    let node = plane.node(NODE_A).await;
    let mut held = strangers(&plane, FLOOD).await;
    assert!(held.len() >= PLACES, "{}", held.len());

    let enrolled = timeout(BOUND, async {
        let session = node.dial(&plane).await;
        let key = KeyPair::generate().unwrap();
        session.enrol("node", &key).await.unwrap();
        session
    });
    let _connected = enrolled.await.expect("it is not kept waiting");

    until(async || {
        // Each is gone after its 30 s: on a slow machine others take the places of the first.
        held.extend(strangers(&plane, AT_ONCE).await);
        let metrics = scrape(&plane).await;
        let lines = [
            "countersign_listener_places{listener=\"api\",kind=\"strangers\"} 512",
            "countersign_listener_places_taken{listener=\"api\",kind=\"strangers\"} 512",
        ];
        lines.iter().all(|line| metrics.contains(line))
    })
    .await;
    let status = plane.ask("status").await;
    let [api, admin] = ["api", "admin"].map(|name| {
        let listeners = status["listeners"].as_array().unwrap();
        listeners.iter().find(|it| it["listener"] == name).unwrap()
    });
    assert_eq!(api["strangers"], PLACES, "{status}");
    assert_eq!(api["strangers_bound"], PLACES, "{status}");
    assert!(api["turned_away"].as_u64().unwrap() > 0, "{status}");
    assert!(api["connections"].as_u64().unwrap() > 0, "{status}");
    assert_eq!(
        (&admin["bound"], &admin["strangers_bound"]),
        (&256.into(), &0.into())
    );
    let ready = get(&plane, "/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
    let degraded = "\r\n\r\nok\ndegraded: api: all 512 places of strangers are taken\n";
    assert!(ready.ends_with(degraded), "{ready}");

    // Another first contact still gets in, at the cost of the oldest.
    plane.node(NODE_B).await;
}

/// What `/livez` of a daemon answers, within a bound: to a request in one piece, or to one whose end
/// comes when the daemon has accepted its connection, and one after it.
async fn livez(address: SocketAddr, is_slow: bool) -> Option<String> {
    let (head, rest) = (
        "GET /livez HTTP/1.1\r\nhost: ",
        "localhost\r\nconnection: close\r\n\r\n",
    );
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        if is_slow {
            stream.write_all(head.as_bytes()).await?;
            Box::pin(livez(address, false)).await;
            stream.write_all(rest.as_bytes()).await?;
        } else {
            stream.write_all([head, rest].concat().as_bytes()).await?;
        }
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let exchange = timeout(PROBE_WITHIN, exchange);
    exchange.await.ok()?.ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn half_open_probes_keep_no_probe_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::configure(folder.path(), &folder.path().join("cp"), "");
    let operator = daemon.start().await;
    let status = status_of(&operator.admin).await.unwrap();
    let telemetry = status.telemetry_address.parse().unwrap();
    let mut held = Vec::new();
    for n in 0..HALF_OPEN {
        let mut stream = TcpStream::connect(telemetry).await.unwrap();
        // Some say nothing, some begin.
        if n % 2 == 0 {
            stream.write_all(b"GET /livez HTTP/1.1\r\n").await.unwrap();
        }
        held.push(stream);
    }
    for is_slow in [false, true, true] {
        let answer = livez(telemetry, is_slow).await;
        let answer = answer.expect("an answer in time");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    drop(held);
    daemon.kill().await;
}
