//! The life of the process: when it is ready, and how it ends.

mod readiness;

use std::time::Duration;

use tokio::time::timeout;
use tokio_util::task::TaskTracker;

pub use readiness::{MAX_REASONS, Readiness, Reasons};

/// Lets open connections finish, up to `deadline`. Listeners have stopped accepting before.
pub async fn drain(tracker: &TaskTracker, deadline: Duration) {
    tracker.close();
    let open = tracker.len();
    tracing::info!(open, "draining");
    if timeout(deadline, tracker.wait()).await.is_err() {
        tracing::warn!(open = tracker.len(), "drain deadline passed");
    }
}
