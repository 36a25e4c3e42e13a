//! `no_connection_is_dropped_by_a_routine_rotation`, for every pair of proxies.

use anyhow::Result;
use countersign_tests::envoy::Dialect::{Delta, StateOfTheWorld};

use crate::scene::{FAST, Proxy, Scene};

const ROTATIONS: usize = 20;
/// Requests that have to pass, however long a busy machine takes for them.
const UNDER_LOAD: u64 = 1_000;

#[tokio::test(flavor = "multi_thread")]
async fn envoy_to_envoy_by_state_of_the_world() -> Result<()> {
    let envoy = Proxy::Envoy(StateOfTheWorld);
    rotate_under_load(envoy, envoy).await
}

#[tokio::test(flavor = "multi_thread")]
async fn envoy_to_envoy_by_delta() -> Result<()> {
    let envoy = Proxy::Envoy(Delta);
    rotate_under_load(envoy, envoy).await
}

#[tokio::test(flavor = "multi_thread")]
async fn envoy_to_sidecar() -> Result<()> {
    rotate_under_load(Proxy::Sidecar, Proxy::Envoy(StateOfTheWorld)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn sidecar_to_envoy() -> Result<()> {
    rotate_under_load(Proxy::Envoy(Delta), Proxy::Sidecar).await
}

#[tokio::test(flavor = "multi_thread")]
async fn sidecar_to_sidecar() -> Result<()> {
    rotate_under_load(Proxy::Sidecar, Proxy::Sidecar).await
}

async fn rotate_under_load(server: Proxy, client: Proxy) -> Result<()> {
    let scene = Scene::start(server, client, FAST).await?;
    let traffic = scene.traffic().await?;
    traffic.renewals(ROTATIONS).await?;
    traffic.requests(UNDER_LOAD).await?;
    let delivered = traffic.web.serials();
    let presented = traffic.seen.all();
    let tally = traffic.lost_nothing().await?;
    // What was presented was delivered; the newest may still be on its way to one of the two.
    let strangers = presented
        .keys()
        .filter(|serial| !delivered.contains(*serial));
    anyhow::ensure!(strangers.count() <= 1, "{presented:?} {delivered:?}");
    for envoy in &scene.envoys {
        anyhow::ensure!(
            envoy.statistic(".update_rejected").await? == 0,
            "an update was refused"
        );
    }
    if let Proxy::Envoy(_) = server {
        let serials = scene.envoys[0].peer_serials();
        anyhow::ensure!(serials.len() > ROTATIONS, "the service saw {serials:?}");
    }
    anyhow::ensure!(tally.requests_ok > UNDER_LOAD, "{tally:?}");
    Ok(())
}
