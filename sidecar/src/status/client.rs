//! Asks a running sidecar for its report.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use countersign_cli::{Exit, Failure};
use countersign_serve::unix::{Trust, dial};
use http::{Request, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use super::{MAX_REPORT_BYTES, PATH, Report};
use crate::state::STATUS_SOCKET;

/// A running sidecar answers in this time.
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);

/// The report of the sidecar that runs on `state_dir`.
///
/// # Errors
/// None runs there, or it does not answer.
pub async fn fetch(state_dir: &Path) -> Result<Report, Failure> {
    let socket = state_dir.join(STATUS_SOCKET);
    let asking = ask(&socket);
    let answer = timeout(ANSWER_DEADLINE, asking)
        .await
        .unwrap_or_else(|_| Err("it does not answer".into()));
    let report = answer.and_then(|body| Ok(serde_json::from_slice(&body)?));
    report.map_err(|error| {
        Failure::new(
            Exit::Unreachable,
            "not_running",
            format!("no sidecar answers on {}: {error}", socket.display()),
            "start it with `countersign-sidecar run`, or run this as its user or as root",
        )
    })
}

async fn ask(socket: &Path) -> Result<Bytes, Box<dyn std::error::Error + Send + Sync>> {
    let stream = dial(socket, Trust::Named).await?;
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::get(PATH)
        .header(header::HOST, "sidecar")
        .body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    if !response.status().is_success() {
        return Err(format!("it answered {}", response.status()).into());
    }
    let body = Limited::new(response.into_body(), MAX_REPORT_BYTES);
    Ok(body.collect().await?.to_bytes())
}
