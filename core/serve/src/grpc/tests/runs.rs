//! How often the task of a connection runs.

use super::*;

/// A DATA frame (RFC 9113 section 6.1) with a message of one byte.
fn message(stream: u32) -> Vec<u8> {
    let mut frame = vec![0, 0, 6, 0x0, 0x0];
    frame.extend(stream.to_be_bytes());
    frame.extend([0, 0, 0, 0, 1, 7]);
    frame
}

/// A task that wakes itself has the runtime wake a worker that sleeps.
#[tokio::test]
async fn connection_runs_once_for_a_message() {
    const MESSAGES: usize = 100;
    let (connection, mut caller) = duplex(1 << 16);
    let accepted = Read::new(connection, CAPACITY_OF_IDENTITIES);
    let (bytes, idle) = (Arc::clone(&accepted.bytes), Arc::clone(&accepted.idle));
    let server = Server::new(messages()).add_service(Hold);
    let accepted = stream::iter([Ok::<_, io::Error>(accepted)]);
    let _serving = AbortOnDropHandle::new(tokio::spawn(server.serve(accepted)));
    let opening = [PREFACE, EMPTY_SETTINGS, &head_of(b"/test.Hold/Never", 1)].concat();
    let (mut sent, mut before) = (0, 0);
    for number in 0..=MESSAGES {
        let said = match number {
            0 => opening.clone(),
            _ => message(1),
        };
        caller.write_all(&said).await.unwrap();
        sent += said.len();
        eventually(|| bytes.load(Ordering::Relaxed) == sent).await;
        if number == 0 {
            before = idle.load(Ordering::Relaxed);
        }
    }
    let runs = idle.load(Ordering::Relaxed) - before;
    assert!(runs <= MESSAGES + 10, "{runs} runs for {MESSAGES} messages");
}
