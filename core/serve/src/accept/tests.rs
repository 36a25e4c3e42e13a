use std::cell::Cell;
use std::io::Write as _;

use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use super::*;
use crate::testing::{exhaust_descriptors, is_child, run_as_child, soon};

#[tokio::test]
async fn accept_outlives_want_of_descriptors() {
    if !is_child() {
        return run_as_child("accept::tests::accept_outlives_want_of_descriptors");
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.write_all(b"hello").unwrap();

    let hogs = exhaust_descriptors();
    let starved = timeout(ACCEPT_BACKOFF * 4, accept_tcp(&listener)).await;
    assert!(starved.is_err(), "there was still a descriptor");

    drop(hogs);
    let (mut stream, peer) = soon(accept_tcp(&listener)).await;
    assert_eq!(peer, client.local_addr().unwrap());
    assert!(stream.nodelay().unwrap());
    let mut word = [0; 5];
    soon(stream.read_exact(&mut word)).await.unwrap();
    assert_eq!(&word, b"hello");
}

#[tokio::test]
async fn what_waits_is_accepted_together_up_to_the_bound() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connect = |_| std::net::TcpStream::connect(address).unwrap();
    let clients: Vec<_> = (0..5).map(connect).collect();
    let mut peers = Vec::new();
    for count in [3, 2] {
        let accepted = soon(accept_waiting(&listener, 3)).await;
        assert_eq!(accepted.len(), count);
        peers.extend(accepted.into_iter().map(|(_, peer)| peer));
    }
    let came: Vec<_> = clients.iter().map(|it| it.local_addr().unwrap()).collect();
    assert_eq!(peers, came);
    // The next is waited for.
    let waiting = tokio::join!(accept_waiting(&listener, 3), async { connect(5) });
    assert_eq!(waiting.0.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn only_lasting_failures_are_waited_out() {
    use rustix::io::Errno;
    let attempts = Cell::new(0);
    let begun = Instant::now();
    let accept = || {
        attempts.set(attempts.get() + 1);
        std::future::ready(match attempts.get() {
            1 => Err(Errno::CONNABORTED.into()),
            2 => Err(Errno::CONNRESET.into()),
            3 => Err(Errno::MFILE.into()),
            attempt => Ok((attempt, begun.elapsed())),
        })
    };
    assert_eq!(persistently(accept).await, (4, ACCEPT_BACKOFF));
}

#[test]
fn warnings_keep_their_interval() {
    let throttle = Throttle::new(Duration::from_secs(10));
    let begun = Instant::now();
    let due = |seconds| throttle.is_due(begun + Duration::from_secs(seconds));
    let heard: Vec<u64> = (0..=25).filter(|seconds| due(*seconds)).collect();
    assert_eq!(heard, [0, 10, 20]);
}

#[test]
fn errors_of_one_connection_are_told_apart() {
    use rustix::io::Errno;
    for errno in [Errno::CONNABORTED, Errno::CONNRESET, Errno::NETDOWN] {
        assert!(concerns_one_connection(&errno.into()), "{errno}");
    }
    for errno in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM] {
        assert!(!concerns_one_connection(&errno.into()), "{errno}");
    }
}

#[tokio::test]
async fn dropped_stream_closes_the_listener() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let ready = Ready::<()>::spawn(|_sender| async move {
        loop {
            accept_tcp(&listener).await;
        }
    });
    TcpStream::connect(address).await.unwrap();
    drop(ready);
    soon(async { while TcpStream::connect(address).await.is_ok() {} }).await;
}
