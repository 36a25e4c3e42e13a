//! A control plane that does not answer as it should, at a socket of its own.

use countersign_proto::admin::StatusRequest;
use tokio::net::UnixListener;
use tokio::time::Instant;

use super::*;

fn client(socket: &Path) -> Client {
    let named = Named::new(Some(socket.to_owned()));
    Client::new(named, Called::default())
}

/// What a verb fails with that asks at this socket.
async fn asked(socket: &Path) -> Failure {
    let client = client(socket);
    let mut admin = match client.connect().await {
        Ok(admin) => admin,
        Err(failure) => return failure,
    };
    // As a verb that waits for a rotation does, without a deadline of its own.
    let answer = admin.status(Request::new(StatusRequest::default())).await;
    failure(answer.map(drop).unwrap_err())
}

#[tokio::test(start_paused = true)]
async fn control_plane_that_stands_still_is_said_to_run() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("admin.sock");
    let _stopped = UnixListener::bind(&socket).unwrap();
    let start = Instant::now();
    let failure = asked(&socket).await;
    assert_eq!(
        (failure.exit, &*failure.code),
        (Exit::Unreachable, "no_answer")
    );
    assert!(failure.remedy.starts_with("it runs"), "{}", failure.remedy);
    assert!(
        start.elapsed() <= ASKED_AFTER + ANSWERS_WITHIN,
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn answer_that_is_late_is_no_closed_connection() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("admin.sock");
    let _stopped = UnixListener::bind(&socket).unwrap();
    let client = client(&socket);
    let mut admin = client.connect().await.unwrap();
    let mut asked = request(StatusRequest::default());
    asked.set_timeout(ASKED_AFTER / 2);
    let failure = failure(admin.status(asked).await.map(drop).unwrap_err());
    assert_eq!(failure.code, "no_answer", "{failure}");
}

#[tokio::test]
async fn connection_that_breaks_says_how() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("admin.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let ending = tokio::spawn(async move { listener.accept().await.map(drop) });
    let failure = asked(&socket).await;
    ending.await.unwrap().unwrap();
    assert_eq!(failure.exit, Exit::Unreachable);
    assert!(!failure.message.contains("transport error"), "{failure}");
}
