//! From the first signal to the last task: background work while running, then the drain.

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::MissedTickBehavior;

use crate::plane::Plane;

/// How often time alone is looked at.
const TICK: Duration = Duration::from_secs(1);
/// Streams and calls end in this time after a signal, or are cut.
pub const DRAIN_DEADLINE: Duration = Duration::from_secs(5);

/// Waits for SIGTERM or SIGINT.
///
/// # Errors
/// The handlers cannot be installed.
pub async fn signalled() -> std::io::Result<&'static str> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    })
}

/// What time alone brings to the authority: an issuing CA that is due, a root that can go.
pub(crate) async fn keep_time(plane: Arc<Plane>) {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = plane.stopping.cancelled() => return,
        }
        if let Err(error) = plane.authority.tick(plane.clock.now()).await {
            tracing::error!(error = %error, "authorities not renewed");
        }
    }
}

/// Activates a prepared root when its gate opens: on what the fleet says, and on the second for
/// what expires. A root that was prepared before a restart is waited for again.
pub(crate) async fn keep_gate(plane: Arc<Plane>) {
    let mut changes = plane.fleet.changes();
    loop {
        if let Err(error) = plane.activate_if_open().await {
            tracing::error!(error = %error, "root not activated");
        }
        tokio::select! {
            _ = changes.changed() => {}
            () = tokio::time::sleep(TICK) => {}
            () = plane.stopping.cancelled() => return,
        }
    }
}
