//! The life of the process: when it is ready, and how it ends.

mod ops;
mod readiness;

use std::time::Duration;

use tokio::time::timeout;
use tokio_util::task::TaskTracker;

pub(crate) use ops::SidecarOps;
pub(crate) use readiness::{Readiness, Reasons};

/// How long callers of the local socket may take to read that the sidecar ends; no longer than
/// `drain_timeout`. They hear it in milliseconds, unless they do not read.
pub(crate) const FAREWELL_DEADLINE: Duration = Duration::from_secs(1);

/// Lets open connections finish, up to `deadline`. Listeners have stopped accepting before.
pub(crate) async fn drain(tracker: &TaskTracker, deadline: Duration) {
    tracker.close();
    let open = tracker.len();
    tracing::info!(open, "draining");
    if timeout(deadline, tracker.wait()).await.is_err() {
        tracing::warn!(open = tracker.len(), "drain deadline passed");
    }
}
