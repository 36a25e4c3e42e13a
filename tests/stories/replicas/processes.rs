//! A control plane that is killed, and one that stands still.

use anyhow::{Result, ensure};
use countersign_tests::envoy::Dialect::{Delta, StateOfTheWorld};
use countersign_tests::host::Equipment;
use rustix::process::Signal;

use super::fleet::{Fleet, PROMISED, Wanted, now};
use crate::measured;
use crate::scene::{FAST, Proxy};

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_where_a_control_plane_is_killed() -> Result<()> {
    let mut fleet = Fleet::start(Wanted {
        proxies: [Proxy::Envoy(Delta), Proxy::Envoy(Delta)],
        pace: FAST,
        equipment: Equipment::default(),
        node_ttl: "1h",
        has_standby: false,
    })
    .await?;
    let traffic = fleet.traffic().await?;
    let (killed, its) = fleet.victim().await?;
    let since = now();
    fleet.control_plane(killed).process().signal(Signal::KILL)?;
    let took = fleet.come_to(1 - killed, &its, since).await?;
    ensure!(took < PROMISED, "{took:#}");
    measured(&format!(
        "{} sidecars were at the other {took:#} after SIGKILL",
        its.len()
    ));
    traffic.renewals(5).await?;
    // Its log has entries that its disk did not get, or that no checkpoint covers yet.
    let again = fleet.scene.mesh.control_plane_at_mut(killed);
    again.start_again().await?;
    traffic.renewals(2).await?;
    fleet.nothing_was_lost(traffic).await
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_where_a_control_plane_stands_still() -> Result<()> {
    let fleet = Fleet::start(Wanted {
        proxies: [Proxy::Envoy(StateOfTheWorld), Proxy::Sidecar],
        pace: FAST,
        equipment: Equipment::default(),
        node_ttl: "1h",
        has_standby: false,
    })
    .await?;
    let traffic = fleet.traffic().await?;
    let (still, its) = fleet.victim().await?;
    let process = fleet.control_plane(still).process();
    let since = now();
    process.signal(Signal::STOP)?;
    let took = fleet.come_to(1 - still, &its, since).await?;
    ensure!(took < PROMISED, "{took:#}");
    measured(&format!(
        "{} sidecars were at the other {took:#} after SIGSTOP",
        its.len()
    ));
    traffic.renewals(5).await?;
    // It goes on where it stood, with calls that nobody waits for any more.
    process.signal(Signal::CONT)?;
    fleet.is_well(still).await?;
    traffic.renewals(2).await?;
    fleet.nothing_was_lost(traffic).await
}
