//! The life of the process: when it is ready, when it is told to end, how it ends.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use crate::control::link_state::LinkState;
use crate::holdings::Holdings;
use crate::proxy::identity::Identities;

/// What readiness depends on: a bundle, every identity that the configuration names, and that the
/// control plane was reached once. Losing it later makes nobody unready: what is held is served.
#[derive(Clone, Debug)]
pub struct Readiness {
    /// What is held.
    pub holdings: Arc<Holdings>,
    /// The identities of our own listeners.
    pub identities: Arc<Identities>,
    /// The connection to the control plane.
    pub link: watch::Receiver<LinkState>,
}

impl Readiness {
    /// What is missing, one reason each; empty when ready.
    pub fn missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        if self.holdings.load().bundle.is_none() {
            missing.push("no trust bundle is installed".to_owned());
        }
        let identities = self.identities.missing().into_iter();
        missing.extend(identities.map(|id| format!("{id} is not installed")));
        let link = self.link.borrow();
        if !link.ever {
            let why = link.problem.as_deref().unwrap_or("connecting");
            missing.push(format!("the control plane was not reached yet: {why}"));
        }
        missing
    }
}

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
