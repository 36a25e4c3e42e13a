use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::task::AbortOnDropHandle;

use super::*;
use crate::testing::{closed, eventually, soon};

#[derive(Default)]
struct Daemon {
    ready: AtomicBool,
    /// Bytes of comments before the end of the metrics.
    talkative: usize,
}

impl Ops for Daemon {
    fn ready(&self) -> Result<(), Vec<String>> {
        if self.ready.load(Ordering::Relaxed) {
            Ok(())
        } else {
            Err(vec!["no identity".into(), "no bundle".into()])
        }
    }
    fn metrics(&self) -> String {
        "#".repeat(self.talkative) + "# EOF\n"
    }
}

struct Server {
    address: SocketAddr,
    daemon: Arc<Daemon>,
    _task: AbortOnDropHandle<()>,
}

async fn start(bounds: Bounds) -> Server {
    start_with(bounds, Daemon::default()).await
}

async fn start_with(bounds: Bounds, daemon: Daemon) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let daemon = Arc::new(daemon);
    let serving = serve_within(listener, Arc::clone(&daemon) as Arc<dyn Ops>, bounds);
    Server {
        address,
        daemon,
        _task: AbortOnDropHandle::new(tokio::spawn(serving)),
    }
}

async fn say(server: &Server, words: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let _ = stream.write_all(words).await;
    let mut answer = Vec::new();
    let _ = soon(stream.read_to_end(&mut answer)).await;
    String::from_utf8(answer).unwrap()
}

async fn request(server: &Server, line: &str) -> String {
    let head = format!("{line} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    say(server, head.as_bytes()).await
}

#[tokio::test]
async fn paths_answer_what_they_promise() {
    let server = start(Bounds::default()).await;
    assert!(
        request(&server, "GET /livez")
            .await
            .starts_with("HTTP/1.1 200")
    );
    let unready = request(&server, "GET /readyz").await;
    assert!(unready.starts_with("HTTP/1.1 503"), "{unready}");
    assert!(
        unready.ends_with("\r\n\r\nno identity\nno bundle\n"),
        "{unready}"
    );
    server.daemon.ready.store(true, Ordering::Relaxed);
    assert!(
        request(&server, "GET /readyz")
            .await
            .starts_with("HTTP/1.1 200")
    );
    let metrics = request(&server, "GET /metrics").await;
    assert!(
        metrics.contains("application/openmetrics-text; version=1.0.0"),
        "{metrics}"
    );
    assert!(metrics.ends_with("\r\n\r\n# EOF\n"), "{metrics}");
    let head = request(&server, "HEAD /metrics").await;
    assert!(
        head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"),
        "{head}"
    );
}

#[tokio::test]
async fn everything_else_is_refused() {
    let server = start(Bounds::default()).await;
    for (line, status) in [
        ("GET /", "404"),
        ("GET /metrics/../livez", "404"),
        ("GET /debug/pprof", "404"),
        ("POST /metrics", "405"),
        ("DELETE /livez", "405"),
        ("BREW /readyz", "405"),
        ("GET /livez?x=1", "200"),
    ] {
        let answer = request(&server, line).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{line}: {answer}"
        );
        let names_the_allowed = answer.contains("\r\nallow: GET, HEAD\r\n");
        assert_eq!(names_the_allowed, status == "405", "{line}: {answer}");
    }
}

#[tokio::test]
async fn header_bomb_is_refused() {
    let server = start(Bounds::default()).await;
    let bomb = format!(
        "GET /livez HTTP/1.1\r\nx: {}\r\n\r\n",
        "a".repeat(4 * MAX_HEADER_BYTES as usize)
    );
    let answer = say(&server, bomb.as_bytes()).await;
    assert!(!answer.contains("200 OK"), "{answer}");
    assert!(request(&server, "GET /livez").await.contains("200 OK"));
}

#[tokio::test]
async fn junk_ends_its_connection_alone() {
    let server = start(Bounds::default()).await;
    let junk = [&b"\x16\x03\x01 junk \r\n\r\n"[..], &[0xff; 4096]];
    for bytes in junk {
        let answer = say(&server, bytes).await;
        assert!(!answer.contains("200 OK"), "{answer}");
        assert!(request(&server, "GET /livez").await.contains("200 OK"));
    }
}

/// The only place is held by a peer that asks for much and reads nothing; then it is taken away.
#[tokio::test]
async fn peer_that_does_not_read_is_cut() {
    let bounds = Bounds {
        exchange: Duration::from_millis(300),
        connections: 1,
        ..Bounds::default()
    };
    let daemon = Daemon {
        talkative: 32 * 1024 * 1024,
        ..Daemon::default()
    };
    let server = start_with(bounds, daemon).await;
    let mut deaf = TcpStream::connect(server.address).await.unwrap();
    let ask = b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n";
    deaf.write_all(ask).await.unwrap();
    soon(deaf.readable()).await.unwrap(); // it has its place
    closed(&mut TcpStream::connect(server.address).await.unwrap()).await;
    soon(async { while !request(&server, "GET /livez").await.contains("200 OK") {} }).await;
    let mut answer = Vec::new();
    let _ = soon(deaf.read_to_end(&mut answer)).await;
    assert!(answer.len() < server.daemon.talkative, "all was sent");
}

#[tokio::test]
async fn unfinished_heads_are_cut() {
    let server = start(Bounds {
        head: Duration::from_millis(100),
        ..Bounds::default()
    })
    .await;
    for words in ["", "G", "GET /livez HTTP/1.1\r\nx: y\r\n"] {
        let answer = say(&server, words.as_bytes()).await;
        assert!(!answer.contains("200 OK"), "{answer}");
    }
}

#[tokio::test]
async fn connections_beyond_the_cap_are_closed() {
    let server = start(Bounds {
        connections: 1,
        ..Bounds::default()
    })
    .await;
    let held = TcpStream::connect(server.address).await.unwrap();
    closed(&mut TcpStream::connect(server.address).await.unwrap()).await;
    drop(held);
    let served = AtomicBool::new(false);
    soon(async {
        while !request(&server, "GET /livez").await.contains("200 OK") {}
        served.store(true, Ordering::Relaxed);
    })
    .await;
    eventually(|| served.load(Ordering::Relaxed)).await;
}
