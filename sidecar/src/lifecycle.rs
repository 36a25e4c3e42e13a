//! The life of the process: when it is ready, when it is told to end, how it ends.

mod readiness;

use std::io;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

pub use readiness::{MAX_REASONS, Readiness};

/// Waits for SIGTERM or SIGINT.
///
/// # Errors
/// The signals cannot be listened for.
pub async fn told_to_end() -> io::Result<&'static str> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => Ok("SIGTERM"),
        _ = interrupt.recv() => Ok("SIGINT"),
    }
}

/// Lets open connections finish, up to `deadline`. Listeners have stopped accepting before.
pub async fn drain(tracker: &TaskTracker, deadline: Duration) {
    tracker.close();
    let open = tracker.len();
    tracing::info!(open, "draining");
    if timeout(deadline, tracker.wait()).await.is_err() {
        tracing::warn!(open = tracker.len(), "drain deadline passed");
    }
}
