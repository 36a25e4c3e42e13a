use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::task::AbortOnDropHandle;

use super::*;
use crate::testing::{closed, connect_from, soon};

#[derive(Default)]
struct Daemon {
    ready: AtomicBool,
    /// Bytes of comments before the end of the metrics.
    talkative: usize,
    degraded: Vec<String>,
}

impl Ops for Daemon {
    fn ready(&self) -> Result<(), Vec<String>> {
        if self.ready.load(Ordering::Relaxed) {
            Ok(())
        } else {
            Err(vec!["no identity".into(), "no bundle".into()])
        }
    }
    fn degraded(&self) -> Vec<String> {
        self.degraded.clone()
    }
    fn metrics(&self) -> String {
        "#".repeat(self.talkative) + "# EOF\n"
    }
}

fn usual() -> Limits {
    Limits::of(crate::limits::MAX_OPS_CONNECTIONS)
}

struct Server {
    address: SocketAddr,
    daemon: Arc<Daemon>,
    _task: AbortOnDropHandle<()>,
}

async fn start(bounds: Limits) -> Server {
    start_with(bounds, Daemon::default()).await
}

async fn start_with(bounds: Limits, daemon: Daemon) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let daemon = Arc::new(daemon);
    let hosts = vec!["10.0.0.7".to_owned()];
    let serving = serve_within(listener, Arc::clone(&daemon) as Arc<dyn Ops>, bounds, hosts);
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
    let server = start(usual()).await;
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
    let server = start(usual()).await;
    for (line, status) in [
        ("GET /", "404"),
        ("GET /metrics/../livez", "404"),
        ("GET /debug/pprof", "404"),
        ("POST /metrics", "405"),
        ("DELETE /livez", "405"),
        ("BREW /readyz", "405"),
        ("GET /livez?x=1", "200"),
        ("GET /healthz", "200"),
        ("POST /healthz", "405"),
        ("GET /healthz/", "404"),
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
    let server = start(usual()).await;
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
    let server = start(usual()).await;
    let junk = [&b"\x16\x03\x01 junk \r\n\r\n"[..], &[0xff; 4096]];
    for bytes in junk {
        let answer = say(&server, bytes).await;
        assert!(!answer.contains("200 OK"), "{answer}");
        assert!(request(&server, "GET /livez").await.contains("200 OK"));
    }
}

/// Asks for much and reads nothing.
async fn deaf(server: &Server) -> TcpStream {
    let mut deaf = TcpStream::connect(server.address).await.unwrap();
    let ask = b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n";
    deaf.write_all(ask).await.unwrap();
    soon(deaf.readable()).await.unwrap(); // its answer is under way
    deaf
}

fn talkative() -> Daemon {
    Daemon {
        talkative: 32 * 1024 * 1024,
        ..Daemon::default()
    }
}

async fn is_cut_short(mut deaf: TcpStream, server: &Server) {
    let mut answer = Vec::new();
    let _ = soon(deaf.read_to_end(&mut answer)).await;
    assert!(answer.len() < server.daemon.talkative, "all was sent");
}

#[tokio::test]
async fn peer_that_does_not_read_is_cut() {
    let server = start_with(usual(), talkative()).await;
    let deaf = deaf(&server).await;
    // It is late.
    tokio::time::pause();
    tokio::time::advance(usual().exchange).await;
    tokio::time::resume();
    is_cut_short(deaf, &server).await;
}

#[tokio::test]
async fn peer_that_does_not_read_gives_way() {
    let limits = Limits {
        answers: 1,
        ..usual()
    };
    let server = start_with(limits, talkative()).await;
    let deaf = deaf(&server).await;
    assert!(request(&server, "GET /livez").await.contains("200 OK"));
    is_cut_short(deaf, &server).await;
}

#[tokio::test]
async fn unfinished_heads_are_cut() {
    let server = start(Limits {
        head: Duration::from_millis(100),
        ..usual()
    })
    .await;
    for words in ["", "G", "GET /livez HTTP/1.1\r\nx: y\r\n"] {
        let answer = say(&server, words.as_bytes()).await;
        assert!(!answer.contains("200 OK"), "{answer}");
    }
}

/// As many unfinished requests as there are places, and more, of one source and of many.
#[tokio::test]
async fn probes_are_answered_beside_half_open_connections() {
    // None goes because of its time.
    let server = start(Limits {
        head: Duration::from_secs(3_600),
        exchange: Duration::from_secs(3_600),
        ..usual()
    })
    .await;
    let mut flood = Vec::new();
    for number in 0..300_u16 {
        let [high, low] = number.to_be_bytes();
        let source = [Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 2, high, low)];
        for source in source {
            let mut half = connect_from(source, server.address.port()).await.unwrap();
            half.write_all(b"GET /livez HTTP/1.1\r\n").await.unwrap();
            flood.push(half);
        }
        assert!(request(&server, "GET /livez").await.contains("200 OK"));
    }
}

#[tokio::test]
async fn oldest_unfinished_request_goes_first() {
    let server = start(Limits {
        requests: 2,
        ..usual()
    })
    .await;
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(TcpStream::connect(server.address).await.unwrap());
    }
    closed(&mut open[0]).await;
    let ask = b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n";
    for late in &mut open[1..] {
        late.write_all(ask).await.unwrap();
        let mut answer = String::new();
        soon(late.read_to_string(&mut answer)).await.unwrap();
        assert!(answer.contains("200 OK"), "{answer}");
    }
}

async fn request_of(server: &Server, path: &str, host: &str) -> String {
    let head = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n");
    say(server, head.as_bytes()).await
}

/// A page of a browser on this machine reads nothing (DNS rebinding).
#[tokio::test]
async fn foreign_host_is_told_no_details() {
    let server = start(usual()).await;
    for path in ["/metrics", "/", "/debug"] {
        let answer = request_of(&server, path, "evil.example").await;
        assert!(answer.starts_with("HTTP/1.1 421"), "{answer}");
        assert!(!answer.contains("EOF"), "{answer}");
    }
}

/// A kubelet and a load balancer name the pod, or nothing that we know.
#[tokio::test]
async fn probes_of_any_host_get_a_word() {
    let degraded = Daemon {
        degraded: vec!["one thing".into()],
        ..Daemon::default()
    };
    let server = start_with(usual(), degraded).await;
    for host in ["10.0.0.7:9464", "10.0.0.9", "probe.example", "%"] {
        let live = request_of(&server, "/livez", host).await;
        assert!(live.starts_with("HTTP/1.1 200"), "{host}: {live}");
        assert!(live.ends_with("\r\n\r\nok\n"), "{host}: {live}");
        server.daemon.ready.store(false, Ordering::Relaxed);
        let unready = request_of(&server, "/readyz", host).await;
        assert!(unready.starts_with("HTTP/1.1 503"), "{host}: {unready}");
        assert!(unready.ends_with("\r\n\r\nunready\n"), "{host}: {unready}");
        server.daemon.ready.store(true, Ordering::Relaxed);
        let ready = request_of(&server, "/readyz", host).await;
        assert!(ready.starts_with("HTTP/1.1 200"), "{host}: {ready}");
        assert!(ready.ends_with("\r\n\r\nok\n"), "{host}: {ready}");
    }
}

#[tokio::test]
async fn listed_host_scrapes_metrics_alone() {
    let server = start(usual()).await;
    let metrics = request_of(&server, "/metrics", "10.0.0.7:9464").await;
    assert!(metrics.ends_with("\r\n\r\n# EOF\n"), "{metrics}");
    let unready = request_of(&server, "/readyz", "10.0.0.7:9464").await;
    assert!(unready.ends_with("\r\n\r\nunready\n"), "{unready}");
    let other = request_of(&server, "/metrics", "10.0.0.70:9464").await;
    assert!(other.starts_with("HTTP/1.1 421"), "{other}");
}

#[tokio::test]
async fn degraded_daemon_says_so_ready_or_not() {
    let daemon = Daemon {
        ready: true.into(),
        degraded: vec!["one thing".into(), "another".into()],
        ..Daemon::default()
    };
    let server = start_with(usual(), daemon).await;
    let ready = request(&server, "GET /readyz").await;
    assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
    assert!(ready.ends_with("\r\n\r\nok\ndegraded: one thing\ndegraded: another\n"));
    // What it is may be why it is not ready.
    server.daemon.ready.store(false, Ordering::Relaxed);
    let unready = request(&server, "GET /readyz").await;
    assert!(unready.starts_with("HTTP/1.1 503"), "{unready}");
    let told = "\r\n\r\nno identity\nno bundle\ndegraded: one thing\ndegraded: another\n";
    assert!(unready.ends_with(told), "{unready}");
}
