//! From the first signal to the last task: background work while running, then the drain.

use std::sync::Arc;
use std::time::Duration;

use countersign_model::SpiffeId;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use crate::plane::Plane;

/// How often time alone is looked at.
const TICK: Duration = Duration::from_secs(1);
/// Sidecars of the process before this one come back in this time, or are told as gone.
const COME_BACK_WITHIN: Duration = Duration::from_secs(30);
/// How often the key stores are looked at.
const KEY_STORE_LOOK: Duration = Duration::from_secs(2);
/// How often bodies of the issuance log are looked at that may be old.
const PRUNE_EVERY: Duration = Duration::from_secs(3_600);
/// How often the inventory is written down, for a quick start.
const SAVE_EVERY: Duration = Duration::from_secs(600);
/// Streams and calls end in this time after a signal, or are cut.
pub const DRAIN_DEADLINE: Duration = Duration::from_secs(5);

/// What time alone brings to the authority, an issuing CA that is due, a root that can go, and what the other
/// control planes are told. Each of it waits for the database.
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
        if let Err(error) = plane.tell_acknowledged().await {
            tracing::error!(error = %error, "acknowledgements not told to the other control planes");
        }
        if let Err(error) = plane.tell_streams().await {
            tracing::debug!(error = %error, "streams not told to the other control planes");
        }
    }
}

/// What time alone brings to the streams. Nothing here waits for the database: a control plane that was taken out
/// serves nobody, also while it cannot reach it.
pub(crate) async fn keep_streams(plane: Arc<Plane>) {
    let mut came_back = Some(Instant::now() + COME_BACK_WITHIN);
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = plane.stopping.cancelled() => return,
        }
        let authority = &plane.authority;
        if came_back.take_if(|at| *at <= Instant::now()).is_some() {
            plane.fleet.moved_again(authority.told_open());
        }
        if authority.is_out() {
            plane.out.cancel();
        }
        let streams = (&*plane.hub, &plane.fleet);
        let (now, moment) = (plane.clock.now(), Instant::now());
        plane.spread.look(authority, streams, now, moment);
        let is_known = |node: &SpiffeId| authority.is_node(node);
        plane.fleet.keep_at_most(authority.node_count(), is_known);
    }
}

/// Looks at the key stores: a token that came back is opened again.
pub(crate) async fn keep_keys(plane: Arc<Plane>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(KEY_STORE_LOOK) => {}
            () = plane.stopping.cancelled() => return,
        }
        let authority = plane.authority.clone();
        // A device may let us wait.
        let looked = tokio::task::spawn_blocking(move || authority.probe_keys()).await;
        if let Err(error) = looked {
            tracing::error!(error = %error, "key stores not looked at");
        }
    }
}

/// Signs checkpoints of the issuance log while it grows, and removes bodies that are old.
pub(crate) async fn keep_log(plane: Arc<Plane>) {
    let mut publish = tokio::time::interval(TICK);
    let mut prune = tokio::time::interval(PRUNE_EVERY);
    let mut save = tokio::time::interval(SAVE_EVERY);
    publish.set_missed_tick_behavior(MissedTickBehavior::Delay);
    prune.set_missed_tick_behavior(MissedTickBehavior::Delay);
    save.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let kept = tokio::select! {
            _ = publish.tick() => plane.authority.publish_log(plane.clock.now()).await,
            _ = save.tick() => plane.authority.save_inventory(plane.clock.now(), false).await,
            _ = prune.tick() => plane.authority.prune_log(plane.clock.now()).await,
            () = plane.stopping.cancelled() => return,
        };
        if let Err(error) = kept {
            tracing::error!(error = %error, "issuance log not kept");
        }
    }
}

/// Activates a prepared root when its gate opens: on what the fleet says, and on the second for
/// what expires. A root that was prepared before a restart is waited for again.
pub(crate) async fn keep_gate(plane: Arc<Plane>) {
    let mut changes = plane.fleet.changes();
    loop {
        let activated = plane.activate_if_open().await;
        if let Err(error) = &activated {
            tracing::error!(error = %error, "root not activated");
        }
        tokio::select! {
            () = worth_a_look(activated.is_ok(), &mut changes) => {}
            () = plane.stopping.cancelled() => return,
        }
    }
}

/// Waits until the gate may have opened. What the fleet says mends no key store and no disk: an
/// activation that failed is only tried again after a while, however much there is to hear.
async fn worth_a_look(is_sound: bool, changes: &mut watch::Receiver<()>) {
    tokio::select! {
        _ = changes.changed(), if is_sound => {}
        () = tokio::time::sleep(TICK) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn busy_fleet_hurries_no_failed_activation() {
        let (fleet, mut changes) = watch::channel(());
        fleet.send_replace(());
        let begun = Instant::now();
        worth_a_look(false, &mut changes).await;
        assert!(begun.elapsed() >= TICK, "{:?}", begun.elapsed());
        assert!(changes.has_changed().unwrap(), "what was said is forgotten");
        worth_a_look(true, &mut changes).await;
        assert!(
            !changes.has_changed().unwrap(),
            "what was said was not heard"
        );
    }
}
