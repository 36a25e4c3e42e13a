//! The clock of one of two control planes is set two hours ahead, and two hours back.

use anyhow::{Context, Result, ensure};
use countersign_tests::Sidecar;
use countersign_tests::envoy::Dialect::Delta;
use countersign_tests::host::Equipment;
use countersign_tests::mesh::node_id;
use countersign_tests::sidecar::Listeners;

use super::fleet::{Fleet, Wanted, now};
use crate::measured;
use crate::scene::{Proxy, STEADY};

const TWO_HOURS: i64 = 2 * 3_600;
/// Its right ends within these two hours.
const SHORT: &str = "spiffe://example.org/short";
/// Of a node that has not come yet; its token ends within them too.
const LATE: &str = "c";

#[tokio::test(flavor = "multi_thread")]
async fn nothing_ends_by_the_clock_of_one_that_is_ahead() -> Result<()> {
    clock_is_set(TWO_HOURS).await
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_ends_by_the_clock_of_one_that_is_behind() -> Result<()> {
    clock_is_set(-TWO_HOURS).await
}

async fn clock_is_set(ahead: i64) -> Result<()> {
    let fleet = Fleet::start(Wanted {
        proxies: [Proxy::Envoy(Delta), Proxy::Sidecar],
        pace: STEADY,
        equipment: Equipment {
            own_clock: true,
            ..Equipment::default()
        },
        // One that is ahead still knows the nodes, and certifies for a time that has not come.
        node_ttl: "4h",
        has_standby: false,
    })
    .await?;
    let folder = fleet.scene.mesh.invite(LATE).await?;
    let node = node_id("a");
    let short = [
        "register",
        "--id",
        SHORT,
        "--node",
        &node,
        "--selector",
        "unix:uid:4242",
        "--owner",
        "team-test",
        "--expires-in",
        "1h",
    ];
    fleet.scene.mesh.operator()?.text(&short).await?;
    let traffic = fleet.traffic().await?;
    let (wrong, its) = fleet.victim().await?;
    let right = 1 - wrong;

    let since = now();
    fleet.host(wrong)?.set_clock(ahead)?;
    // Neither knows which of the two is wrong.
    for place in [wrong, right] {
        fleet.says(place, "clocks_differ").await?;
    }
    measured(&format!(
        "both said so {:#} after the step",
        now().duration_since(since)
    ));
    let took = fleet.come_to(right, &its, since).await?;
    measured(&format!(
        "{} sidecars were at the other {took:#} after the step",
        its.len()
    ));
    traffic.renewals(3).await?;
    for place in [wrong, right] {
        nothing_ended(&fleet, place).await?;
    }
    let sidecar = Sidecar::start_among(&folder, &fleet.scene.mesh.apis(), &Listeners::default())?;
    sidecar
        .ready()
        .await
        .context("a token that has an hour to go")?;

    fleet.host(wrong)?.set_clock(0)?;
    for place in [wrong, right] {
        fleet.is_well(place).await?;
        nothing_ended(&fleet, place).await?;
    }
    traffic.renewals(2).await?;
    fleet.nothing_was_lost(traffic).await
}

/// Every node is there, and what has an hour to go is registered.
async fn nothing_ended(fleet: &Fleet, place: usize) -> Result<()> {
    let operator = fleet.control_plane(place).operator()?;
    let listed = operator.json(&["list"]).await?;
    let ids = listed["items"].as_array().context("a list")?;
    ensure!(ids.iter().any(|it| it["id"] == SHORT), "{listed}");
    let nodes = operator.json(&["node", "list"]).await?;
    let known = nodes["items"].as_array().context("a list")?;
    for node in ["a", "b"] {
        let its = known.iter().find(|it| it["id"] == node_id(node).as_str());
        let its = its.with_context(|| format!("{nodes}"))?;
        ensure!(its["evicted"].is_null() && its["banned"].is_null(), "{its}");
    }
    Ok(())
}
