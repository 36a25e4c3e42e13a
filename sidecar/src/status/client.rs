//! Asks a running sidecar for its report.

use std::fmt::Display;
use std::io;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use countersign_cli::{Exit, Failure};
use countersign_serve::unix::{Obstacle, Trust, dial};
use http::{Request, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use super::{MAX_REPORT_BYTES, PATH, Report};
use crate::state::STATUS_SOCKET;

/// A running sidecar answers in this time.
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);

/// What an answer did not come of.
#[derive(Debug, thiserror::Error)]
enum NoReport {
    /// The socket cannot be used, or its connection broke.
    #[error(transparent)]
    Socket(#[from] io::Error),
    /// It did not come in time.
    #[error("it does not answer within {} s", ANSWER_DEADLINE.as_secs())]
    Late,
    /// Who answered is no sidecar of this version, or ended.
    #[error("{0}")]
    Answer(String),
}

/// The report of the sidecar that runs on `state_dir`.
///
/// # Errors
/// None runs there, it does not answer, or this user may not ask.
pub async fn fetch(state_dir: &Path) -> Result<Report, Failure> {
    let socket = state_dir.join(STATUS_SOCKET);
    let answer = timeout(ANSWER_DEADLINE, ask(&socket)).await;
    let answer = answer.unwrap_or(Err(NoReport::Late));
    let report = answer.and_then(|body| serde_json::from_slice(&body).map_err(unreadable));
    report.map_err(|why| failure(&socket, &why))
}

fn failure(socket: &Path, why: &NoReport) -> Failure {
    let obstacle = match why {
        NoReport::Socket(error) => Obstacle::of(error),
        NoReport::Late => Obstacle::Silent,
        NoReport::Answer(_) => {
            let message = format!("no report came from {}: {why}", socket.display());
            let remedy = "run the status of the version that the sidecar is of, or try again";
            return Failure::new(Exit::Unreachable, "no_report", message, remedy);
        }
    };
    let (exit, code, remedy) = match obstacle {
        Obstacle::OfAnother => (
            Exit::Denied,
            "status_socket_of_another",
            "nothing was sent: look whose state_dir this is",
        ),
        Obstacle::Denied => (
            Exit::Denied,
            "status_socket_denied",
            "run this as root or as the sidecar's own user: nobody else may ask",
        ),
        Obstacle::NoSocket => (
            Exit::Usage,
            "status_socket_is_none",
            "look at state_dir in the configuration: a sidecar makes the socket in it",
        ),
        Obstacle::Silent => (
            Exit::Unreachable,
            "no_answer",
            "it runs and stands still: look whether it was stopped (ps shows T) or its machine has no \
             time for it, and what its log says last; restart it if it stays so",
        ),
        Obstacle::Absent => (
            Exit::Unreachable,
            "not_running",
            "start it with `countersign-sidecar run`",
        ),
    };
    let message = format!("no sidecar answers on {}: {why}", socket.display());
    Failure::new(exit, code, message, remedy)
}

fn unreadable(error: impl Display) -> NoReport {
    NoReport::Answer(error.to_string())
}

async fn ask(socket: &Path) -> Result<Bytes, NoReport> {
    let stream = dial(socket, Trust::Named).await?;
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(unreadable)?;
    tokio::spawn(connection);
    let request = Request::get(PATH)
        .header(header::HOST, "sidecar")
        .body(Empty::<Bytes>::new())
        .map_err(unreadable)?;
    let response = sender.send_request(request).await.map_err(unreadable)?;
    if !response.status().is_success() {
        return Err(unreadable(format!("it answered {}", response.status())));
    }
    let body = Limited::new(response.into_body(), MAX_REPORT_BYTES);
    Ok(body.collect().await.map_err(unreadable)?.to_bytes())
}
