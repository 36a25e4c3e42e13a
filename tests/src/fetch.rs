//! The smallest HTTP client: one GET over one connection.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use http::StatusCode;
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Gets a path.
///
/// # Errors
/// No connection, or no HTTP.
pub async fn get(address: SocketAddr, path: &str) -> Result<(StatusCode, String)> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = http::Request::get(path)
        .header("host", address.to_string())
        .body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await.context("no answer")?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    connection.abort();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

/// Whether a daemon says on its telemetry port that it can do its job.
pub async fn is_ready(telemetry: SocketAddr) -> bool {
    get(telemetry, "/readyz")
        .await
        .is_ok_and(|(status, _)| status == StatusCode::OK)
}
