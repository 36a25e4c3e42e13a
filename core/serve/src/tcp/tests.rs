use std::io::ErrorKind;

use tokio::net::TcpStream;

use super::*;
use crate::testing::soon;

fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

#[tokio::test]
async fn port_in_use_names_the_setting() {
    let first = bind_tcp(loopback(), "api.listen").unwrap();
    let address = first.local_addr().unwrap();
    let error = bind_tcp(address, "telemetry.listen").unwrap_err();
    assert_eq!(error.source.kind(), ErrorKind::AddrInUse);
    let text = error.to_string();
    assert!(text.contains("telemetry.listen"), "{text}");
    assert!(text.contains(&address.to_string()), "{text}");
}

#[tokio::test]
async fn foreign_address_names_the_setting() {
    // TEST-NET-1 is no machine's own (RFC 5737).
    let error = bind_tcp("192.0.2.1:0".parse().unwrap(), "api.listen").unwrap_err();
    assert_eq!(error.source.kind(), ErrorKind::AddrNotAvailable);
    assert!(error.to_string().contains("api.listen"));
}

#[tokio::test]
async fn restart_takes_its_port_back() {
    let listener = bind_tcp(loopback(), "api.listen").unwrap();
    let address = listener.local_addr().unwrap();
    // The side that closes first keeps the pair in TIME_WAIT.
    let client = std::net::TcpStream::connect(address).unwrap();
    drop(soon(listener.accept()).await.unwrap());
    drop((client, listener));
    bind_tcp(address, "api.listen").unwrap();
}

/// More than the 128 that the standard library asks for, and nobody accepts.
#[tokio::test]
async fn burst_of_clients_is_queued() {
    let listener = bind_tcp(loopback(), "api.listen").unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    for _ in 0..200 {
        waiting.push(soon(TcpStream::connect(address)).await.unwrap());
    }
}

#[tokio::test]
async fn accepted_connections_are_probed_for_life() {
    let listener = bind_tcp("127.0.0.1:0".parse().unwrap(), "api.listen").unwrap();
    let _client = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let (stream, _) = crate::accept::accept_tcp(&listener).await;
    assert!(stream.nodelay().unwrap());
    assert!(sockopt::socket_keepalive(&stream).unwrap());
    assert_eq!(sockopt::tcp_keepidle(&stream).unwrap(), KEEPALIVE_IDLE);
    assert_eq!(sockopt::tcp_keepcnt(&stream).unwrap(), KEEPALIVE_PROBES);
}
