//! Networks that carry nothing any more: no reset, no error.

use anyhow::{Context, Result, ensure};
use countersign_tests::envoy::Dialect::{Delta, StateOfTheWorld};
use countersign_tests::host::{Equipment, Network};
use countersign_tests::sidecar::Listeners;
use countersign_tests::{Sidecar, wait};
use jiff::Timestamp;
use serde_json::Value;

use super::fleet::{Fleet, PROMISED, Wanted, now};
use crate::measured;
use crate::scene::{Pace, Proxy, STEADY};

const MORE: &str = "spiffe://example.org/more";
const LATE: &str = "spiffe://example.org/late";
/// Requests that are answered while nobody has a control plane.
const ON_THEIR_OWN: u64 = 2_000;

async fn fleet(server: Proxy, client: Proxy, pace: Pace) -> Result<Fleet> {
    let wanted = Wanted {
        proxies: [server, client],
        pace,
        equipment: Equipment::default(),
        node_ttl: "1h",
        has_standby: false,
    };
    Fleet::start(wanted).await
}

/// It serves from memory whoever needs nothing new, refuses what needs a commit, and says so; who has to
/// renew goes to the other one.
#[tokio::test(flavor = "multi_thread")]
async fn control_plane_without_its_database_serves_what_it_knows() -> Result<()> {
    let fleet = fleet(Proxy::Envoy(Delta), Proxy::Envoy(StateOfTheWorld), STEADY).await?;
    let traffic = fleet.traffic().await?;
    let (cut, its) = fleet.victim().await?;
    let other = 1 - cut;
    // It knows this control plane alone, and its certificates are not due.
    let mesh = &fleet.scene.mesh;
    let faithful = mesh.invite("c").await?;
    let cut_off = fleet.control_plane(cut);
    let mut faithful = Sidecar::start(&faithful, cut_off.api(), &Listeners::default())?;
    holds(&faithful, 1).await?;

    let since = now();
    fleet.host(cut)?.cut(Network::Database)?;
    fleet.is_obstructed(cut, "of the database").await?;
    measured(&format!(
        "said {:#} after the cut",
        now().duration_since(since)
    ));
    let took = fleet.come_to(other, &its, since).await?;
    measured(&format!(
        "{} sidecars were at the other {took:#} after the cut",
        its.len()
    ));
    let (_, metrics) = cut_off.get("/metrics").await?;
    ensure!(
        metrics.contains("countersign_store_writable 0"),
        "{metrics}"
    );
    fleet.refuses(cut, MORE).await?;
    traffic.renewals(3).await?;
    // What it does not hear of.
    let late = fleet.register(other, LATE, "c").await?;
    ensure!(late.code == Some(0), "{late:?}");
    let link = faithful.status().await?["control_plane"].clone();
    ensure!(link["connected"] == true, "{link}");
    faithful.process().kill();
    faithful.start_again()?;
    wait::until("a stream from memory", wait::BOUND, async || {
        let link = faithful.status().await.ok()?["control_plane"].clone();
        (link["connected"] == true).then_some(())
    })
    .await?;

    fleet.host(cut)?.heal(Network::Database)?;
    fleet.is_well(cut).await?;
    // It catches up, and its sidecar hears of what was registered at the other one.
    holds(&faithful, 2).await?;
    let more = fleet.register(cut, MORE, "a").await?;
    ensure!(more.code == Some(0), "{more:?}");
    traffic.renewals(1).await?;
    fleet.nothing_was_lost(traffic).await
}

#[tokio::test(flavor = "multi_thread")]
async fn sidecars_leave_a_control_plane_that_they_do_not_reach() -> Result<()> {
    let fleet = fleet(Proxy::Envoy(StateOfTheWorld), Proxy::Envoy(Delta), STEADY).await?;
    let traffic = fleet.traffic().await?;
    let (cut, its) = fleet.victim().await?;
    let node_before = node_serials(&its).await?;
    let since = now();
    fleet.host(cut)?.cut(Network::Sidecars)?;
    let took = fleet.come_to(1 - cut, &its, since).await?;
    ensure!(took < PROMISED, "{took:#}");
    measured(&format!(
        "{} sidecars were at the other {took:#} after the cut",
        its.len()
    ));
    traffic.renewals(3).await?;
    // What was not due is what it was: to go elsewhere is no reason to be certified again.
    ensure!(node_serials(&its).await? == node_before, "certified again");
    fleet.host(cut)?.heal(Network::Sidecars)?;
    traffic.renewals(1).await?;
    fleet.nothing_was_lost(traffic).await
}

#[tokio::test(flavor = "multi_thread")]
async fn sidecars_without_any_control_plane_go_on_with_what_they_hold() -> Result<()> {
    let fleet = fleet(Proxy::Envoy(Delta), Proxy::Sidecar, STEADY).await?;
    let traffic = fleet.traffic().await?;
    for place in [0, 1] {
        fleet.host(place)?.cut(Network::Sidecars)?;
    }
    for sidecar in fleet.sidecars() {
        wait::until("word of the cut", wait::BOUND, async || {
            let link = sidecar.status().await.ok()?["control_plane"].clone();
            (link["connected"] == false).then_some(())
        })
        .await?;
    }
    let held = [traffic.web.newest(), traffic.client.newest()];
    traffic.requests(ON_THEIR_OWN).await?;
    for sidecar in fleet.sidecars() {
        is_overdue(sidecar).await?;
    }
    ensure!(
        held == [traffic.web.newest(), traffic.client.newest()],
        "renewed by nobody"
    );
    for place in [0, 1] {
        fleet.host(place)?.heal(Network::Sidecars)?;
    }
    let since = now();
    traffic.renewals(2).await?;
    measured(&format!(
        "renewed twice {:#} after the cut ended",
        now().duration_since(since)
    ));
    fleet.nothing_was_lost(traffic).await
}

/// Waits until a sidecar holds so many certificates.
async fn holds(sidecar: &Sidecar, many: usize) -> Result<()> {
    sidecar
        .process()
        .wait_for("its certificates", async |_| {
            let items = identities(sidecar).await?;
            let held = items.iter().filter(|it| it["serial"].is_string());
            (held.count() == many).then_some(())
        })
        .await
}

/// Waits until every workload of a sidecar should have been renewed, and was not.
async fn is_overdue(sidecar: &Sidecar) -> Result<()> {
    let is_overdue = |it: &Value| {
        let due: Option<Timestamp> = it["renew_at"].as_str()?.parse().ok();
        Some(due? < now())
    };
    sidecar
        .process()
        .wait_for("what is overdue", async |_| {
            let items = identities(sidecar).await?;
            let mut workloads = items.iter().filter(|it| it["entitlement"] != "node");
            let is_any = workloads.clone().next().is_some();
            let are_all = workloads.all(|it| is_overdue(it) == Some(true));
            (is_any && are_all).then_some(())
        })
        .await
}

/// The serials of the nodes themselves.
async fn node_serials(sidecars: &[&Sidecar]) -> Result<Vec<Value>> {
    let mut serials = Vec::new();
    for sidecar in sidecars {
        let items = identities(sidecar).await.context("no status")?;
        let node = items.into_iter().find(|it| it["entitlement"] == "node");
        serials.push(node.context("no node")?["serial"].clone());
    }
    Ok(serials)
}

async fn identities(sidecar: &Sidecar) -> Option<Vec<Value>> {
    let status = sidecar.status().await.ok()?;
    status["identities"]["items"].as_array().cloned()
}
