//! Floods of calls: who sends one is sent away, and nobody else notices.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use countersign_proto::RETRY_PUSHBACK;
use countersign_serve::limits::CAPACITY_OF_STRANGERS;
use futures_util::future::join_all;
use futures_util::{StreamExt as _, stream};
use http_body_util::StreamBody;
use hyper::body::Frame;
use rcgen::KeyPair;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tonic::body::Body;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tower::ServiceExt as _;

use crate::daemon::{Daemon, Operator};
use crate::harness::*;
use crate::shapes::scrape;

/// Few places, so that a flood of this size fills them.
const TIGHT: &str = "[admission]\nmax_in_flight = 1\nmax_queued = 32\n";
/// Calls of a flood: as many as one connection may make at once.
const FLOOD: usize = 250;

/// How long a refusal asks to stay away.
fn pushback(status: &Status) -> Duration {
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    let asked = status.metadata().get(RETRY_PUSHBACK).expect("a hint");
    Duration::from_millis(asked.to_str().unwrap().parse().unwrap())
}

/// Calls that one connection of a stranger has bytes for.
const CALLS_OF_A_STRANGER: usize = 32;

/// A node that asks for certificates of its own, all at once.
async fn flood(plane: &Plane, node: &str) -> JoinSet<Result<(), Status>> {
    let session = plane.node(node).await.dial(plane).await;
    let session = std::sync::Arc::new(session);
    let mut calls = JoinSet::new();
    for _ in 0..FLOOD {
        let session = session.clone();
        calls.spawn(async move {
            let key = KeyPair::generate().unwrap();
            session.enrol("node", &key).await.map(drop)
        });
    }
    calls
}

/// The value of a series.
async fn series(plane: &Plane, name: &str) -> u64 {
    let text = scrape(plane).await;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.map_or(0, |value| value.trim().parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flooding_node_is_sent_away_and_no_other() {
    let plane = Plane::with(TIGHT).await;
    let other = plane.node(NODE_B).await.dial(&plane).await;
    let mut flood = flood(&plane, NODE_A).await;
    let waiting = "countersign_admission_waiting{queue=\"signing\"}";
    until(async || series(&plane, waiting).await > 0).await;
    for _ in 0..10 {
        // Never refused, while the flood is: there is always a place for who has none.
        let key = KeyPair::generate().unwrap();
        other.enrol("node", &key).await.unwrap();
        assert!(series(&plane, waiting).await <= 32);
    }
    let (mut granted, mut sent_away) = (0, 0);
    while let Some(ended) = flood.join_next().await {
        match ended.unwrap() {
            Ok(()) => granted += 1,
            Err(status) => {
                let asked = pushback(&status);
                assert!((250..=10_000).contains(&asked.as_millis()), "{asked:?}");
                sent_away += 1;
            }
        }
    }
    assert!(granted > 0 && sent_away > 0, "{granted} and {sent_away}");
    let refused =
        "countersign_admission_refusals_total{queue=\"signing\",reason=\"caller_queue_full\"}";
    assert_eq!(series(&plane, refused).await, sent_away);
    assert_eq!(series(&plane, waiting).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_beyond_its_rate_is_told_when_to_return() {
    let plane = Plane::with("[admission]\nrate_per_caller = 1\nburst_per_caller = 2\n").await;
    let (a, b) = (plane.node(NODE_A).await, plane.node(NODE_B).await);
    let (a, b) = (a.dial(&plane).await, b.dial(&plane).await);
    let key = KeyPair::generate().unwrap();
    // More than a machine can be late for: a call is let through for each second.
    let answers = join_all((0..16).map(|_| a.enrol("node", &key))).await;
    assert!(answers.iter().any(Result::is_ok));
    let refused = answers.into_iter().find_map(Result::err);
    let asked = pushback(&refused.expect("sixteen at once are too many"));
    assert!(asked <= Duration::from_secs(1), "{asked:?}");
    b.enrol("node", &key).await.unwrap_err();
    b.enrol("node", &KeyPair::generate().unwrap())
        .await
        .unwrap();
    until(async || a.enrol("node", &key).await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_tokens_exhaust_their_sender_and_no_node() {
    let plane = Plane::start().await;
    let node = plane.node(NODE_A).await.dial(&plane).await;
    let mut stranger = plane.dial(None).await;
    let key = KeyPair::generate().unwrap();
    let mut refused = 0;
    let status = loop {
        // Before its connection has brought as much as a stranger's may.
        if refused % CALLS_OF_A_STRANGER == 0 {
            stranger = plane.dial(None).await;
        }
        let status = stranger.attest("0".repeat(64).as_str(), &key, "node").await;
        let status = status.unwrap_err();
        if status.code() == Code::ResourceExhausted {
            break status;
        }
        assert_eq!(status.message(), "attestation refused");
        refused += 1;
        assert!(refused < 1_000, "an address may fail without end");
    };
    pushback(&status);
    assert!(refused >= 200, "{refused}");
    node.enrol("node", &KeyPair::generate().unwrap())
        .await
        .unwrap();

    // A token that is good is worth as much as before, once the address has waited.
    let token = plane.token(NODE_B).await;
    until(async || {
        let stranger = plane.dial(None).await;
        stranger.attest(&token, &key, "node").await.is_ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_hang_up_leave_nothing_behind() {
    let plane = Plane::with(TIGHT).await;
    let mut flood = flood(&plane, NODE_A).await;
    let waiting = "countersign_admission_waiting{queue=\"signing\"}";
    until(async || series(&plane, waiting).await > 0).await;
    flood.shutdown().await;
    let running = "countersign_admission_running{queue=\"signing\"}";
    until(async || series(&plane, waiting).await + series(&plane, running).await == 0).await;
    let node = plane.node(NODE_B).await.dial(&plane).await;
    node.enrol("node", &KeyPair::generate().unwrap())
        .await
        .unwrap();
}

/// Streams of a connection without a certificate.
const STREAMS: u32 = CAPACITY_OF_STRANGERS.streams;
const ATTEST: &str = "/countersign.v1.NodeAttestation/AttestNode";

/// A call that announces so many bytes, sends one of them, and never the rest: how it is answered, or
/// `None` where its connection ends before.
async fn unfinished(channel: Channel, path: &str, announced: u32) -> Option<Code> {
    let mut begun = vec![0];
    begun.extend(announced.to_be_bytes());
    begun.push(0);
    let begun = stream::iter([Ok::<_, Status>(Frame::data(Bytes::from(begun)))]);
    let body = StreamBody::new(begun.chain(stream::pending()));
    let request = http::Request::post(format!("https://api.invalid{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Body::new(body))
        .unwrap();
    let answer = channel.oneshot(request);
    let answer = timeout(2 * BOUND, answer).await.expect("it ends").ok()?;
    let status = Status::from_header_map(answer.headers());
    Some(status.expect("an answer without a body").code())
}

/// Two hundred calls of connections without a certificate, as many on each as it may have.
async fn unfinished_of_strangers(
    plane: &Plane,
    path: &'static str,
    announced: u32,
) -> JoinSet<Option<Code>> {
    let mut calls = JoinSet::new();
    for _ in 0..200 / STREAMS {
        let stranger = plane.dial(None).await;
        for _ in 0..STREAMS {
            let channel = stranger.channel.clone();
            calls.spawn(unfinished(channel, path, announced));
        }
    }
    calls
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_stranger_is_read_where_nodes_call() {
    let plane = Plane::start().await;
    // Whatever of it was read would end by its deadline, or by the share of its source.
    for path in ["Enrol", "Discover"] {
        let path: &str = format!("/countersign.v1.Mesh/{path}").leak();
        let mut calls = unfinished_of_strangers(&plane, path, 256 * 1024).await;
        let (mut refused, all) = (0, calls.len());
        while let Some(code) = calls.join_next().await {
            let Some(code) = code.unwrap() else { continue };
            assert_eq!(code, Code::Unauthenticated);
            refused += 1;
        }
        // Who is still writing when a connection ends may never read why.
        assert!(refused * 4 >= all * 3, "{refused} of {all}");
    }
}

/// What is not finished is charged, up to the share of its source, and ends within its deadline;
/// whoever is whole is not kept waiting. On the admin socket the same.
#[tokio::test(flavor = "multi_thread")]
async fn unfinished_messages_take_a_share_and_end() {
    let plane = Plane::start().await;
    let admin = {
        let socket = plane.socket();
        let dial = tower::service_fn(move |_: tonic::transport::Uri| {
            let socket = socket.clone();
            async move {
                let stream = tokio::net::UnixStream::connect(socket).await;
                stream.map(hyper_util::rt::TokioIo::new)
            }
        });
        let endpoint = tonic::transport::Endpoint::from_static("http://admin.invalid");
        endpoint.connect_with_connector(dial).await.unwrap()
    };
    let register = "/countersign.admin.v1.Admin/Register";
    let admin = tokio::spawn(unfinished(admin, register, 1_000_000));

    let mut calls = unfinished_of_strangers(&plane, ATTEST, 16 * 1024).await;
    let (mut cut, mut refused) = (0, 0);
    plane.node(NODE_A).await;
    while let Some(code) = calls.join_next().await {
        match code.unwrap() {
            Some(Code::DeadlineExceeded) => cut += 1,
            Some(Code::ResourceExhausted) => refused += 1,
            other => panic!("{other:?}"),
        }
    }
    // 64 of 16 KiB are one MiB. On a slow machine the last come when the first are over.
    assert!(cut >= 64 && refused > 0, "{cut} and {refused}");
    assert_eq!(admin.await.unwrap(), Some(Code::DeadlineExceeded));
    // All of it came back.
    let mut calls = unfinished_of_strangers(&plane, ATTEST, 8 * 1024).await;
    let mut cut = 0;
    while let Some(code) = calls.join_next().await {
        cut += usize::from(code.unwrap() == Some(Code::DeadlineExceeded));
    }
    assert!(cut >= 128, "128 of 8 KiB are one MiB: {cut}");
}

/// How long the calls go on that are refused.
const REFUSED_FOR: Duration = Duration::from_secs(3);
/// Callers at the same time: few, for other tests run beside them.
const CALLERS: usize = 4;
/// So many calls at least are refused, however slow the machine is.
const FEWEST: usize = 600;
/// Lines of a log in one second, whatever strangers do.
const MOST_LINES: usize = 200;
/// What a line begins with: its second, as in `2026-01-01T00:00:00`.
const SECOND: usize = 19;

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_refusals_is_a_few_lines_of_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::configure(folder.path(), &folder.path().join("cp"), "");
    let operator = daemon.start().await;
    let until = Instant::now() + REFUSED_FOR;
    let is_over = move |refused| Instant::now() >= until && refused >= FEWEST / CALLERS;
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let operator = operator.clone();
        callers.spawn(async move {
            let key = KeyPair::generate().unwrap();
            let mut refused = 0;
            while !is_over(refused) {
                // A connection of a stranger is cut when it has brought enough.
                let session = dial(operator.api, &operator.bundle, None).await.unwrap();
                while !is_over(refused)
                    && session.enrol("node", &key).await.unwrap_err().code()
                        == Code::Unauthenticated
                {
                    refused += 1;
                }
            }
            refused
        });
    }
    let refused: usize = callers.join_all().await.into_iter().sum();
    // The next line, or a summary a little later.
    crate::harness::until(async || daemon.log().contains("left_out")).await;
    let log = daemon.log();
    let lines = log.lines().count();
    let mut seconds = BTreeMap::<&str, usize>::new();
    for line in log.lines() {
        *seconds
            .entry(line.get(..SECOND).unwrap_or_default())
            .or_default() += 1;
    }
    let most = seconds.values().max().copied().unwrap_or_default();
    eprintln!("{refused} refused, {lines} lines, at most {most} a second");
    assert!(lines < refused / 2, "{lines} lines for {refused} refusals");
    assert!(most < MOST_LINES, "{most} lines a second");
    daemon.kill().await;
}

/// Acknowledgements of a PING that one connection of a stranger has bytes for.
const ACKNOWLEDGEMENTS: usize = 4_000;

/// Sends acknowledgements that nobody asked for, and waits for what comes back for the PING after them.
async fn acknowledge(operator: &Operator) {
    let head = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let acknowledgement = b"\0\0\x08\x06\x01\0\0\0\0unasked!";
    let last = b"the last";
    let ping = [b"\0\0\x08\x06\0\0\0\0\0", &last[..]].concat();
    let frames = [head, &*acknowledgement.repeat(ACKNOWLEDGEMENTS), &ping].concat();
    let mut tls = connect(operator.api, &operator.bundle, None).await.unwrap();
    tls.write_all(&frames).await.unwrap();
    let mut read = Vec::new();
    while !read.windows(last.len()).any(|bytes| bytes == last) {
        assert!(tls.read_buf(&mut read).await.unwrap() > 0, "{read:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unasked_acknowledgements_are_few_lines_of_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::configure(folder.path(), &folder.path().join("cp"), "");
    let operator = daemon.start().await;
    let before = daemon.log().lines().count();
    for _ in 0..5 {
        let sent = acknowledge(&operator);
        timeout(Duration::from_secs(30), sent).await.unwrap();
    }
    let lines = daemon.log().lines().count() - before;
    assert!(lines < MOST_LINES, "{lines} lines");
    daemon.kill().await;
}
