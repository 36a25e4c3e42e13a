//! The server of the database dies, and the standby that has everything takes its place.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use countersign_tests::envoy::Dialect::Delta;
use countersign_tests::host::Equipment;
use countersign_tests::mesh::node_id;
use countersign_tests::{Command, wait};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::fleet::{Fleet, Wanted, now};
use crate::measured;
use crate::scene::{Proxy, STEADY};

/// Acts that are acknowledged before the server dies, and after another has its place.
const SOME: usize = 5;

/// What an operator was told of each identity that he registered: whether it was acknowledged.
type Told = BTreeMap<String, bool>;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_where_a_standby_is_promoted() -> Result<()> {
    let fleet = Fleet::start(Wanted {
        proxies: [Proxy::Envoy(Delta), Proxy::Envoy(Delta)],
        pace: STEADY,
        equipment: Equipment::default(),
        node_ttl: "1h",
        has_standby: true,
    })
    .await?;
    let traffic = fleet.traffic().await?;
    let acts = [Acts::start(&fleet, 0)?, Acts::start(&fleet, 1)?];
    for act in &acts {
        act.acknowledged(SOME).await?;
    }
    let since = now();
    let standby = fleet.standby.as_ref().context("a standby")?;
    fleet.primary.kill();
    standby.promote();
    measured(&format!(
        "promoted {:#} after the server was killed",
        now().duration_since(since)
    ));
    for (place, act) in acts.iter().enumerate() {
        fleet.is_well(place).await?;
        act.acknowledged(SOME).await?;
    }
    measured(&format!(
        "both went on {:#} after the server was killed",
        now().duration_since(since)
    ));
    traffic.renewals(2).await?;
    let [one, other] = acts;
    let mut told = one.end().await?;
    told.append(&mut other.end().await?);
    each_was_done_once(&fleet, &told).await?;
    fleet.nothing_was_lost(traffic).await
}

/// An operator who registers one identity after the other at a control plane.
struct Acts {
    told: watch::Receiver<Told>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Acts {
    fn start(fleet: &Fleet, place: usize) -> Result<Self> {
        let operator = fleet.control_plane(place).operator()?;
        let (tell, told) = watch::channel(Told::new());
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(async move {
            for number in 0.. {
                if *stopped.borrow() {
                    return;
                }
                let id = format!("spiffe://example.org/act/{place}/{number}");
                let is_acknowledged = register(&operator, &id).await;
                tell.send_modify(|told| {
                    told.insert(id, is_acknowledged);
                });
            }
        });
        Ok(Self { told, stop, task })
    }

    /// Waits until so many more were acknowledged.
    async fn acknowledged(&self, more: usize) -> Result<()> {
        let count = |told: &Told| told.values().filter(|it| **it).count();
        let enough = count(&self.told.borrow()) + more;
        let mut told = self.told.clone();
        let acknowledged = told.wait_for(|told| count(told) >= enough);
        let acknowledged = tokio::time::timeout(2 * wait::BOUND, acknowledged).await;
        acknowledged.context("no acts were acknowledged")??;
        Ok(())
    }

    async fn end(self) -> Result<Told> {
        self.stop.send(true)?;
        self.task.await?;
        let told = self.told.borrow();
        Ok(told.clone())
    }
}

async fn register(operator: &Command, id: &str) -> bool {
    let node = node_id("z");
    let register = [
        "register",
        "--create",
        "--id",
        id,
        "--node",
        &node,
        "--selector",
        "unix:uid:4242",
        "--owner",
        "team-test",
        "--json",
    ];
    let answer = operator
        .clone()
        .within(Duration::from_secs(120))
        .run(&register)
        .await;
    answer.is_ok_and(|answer| answer.code == Some(0))
}

/// What was acknowledged is there at both, and nothing was done twice.
async fn each_was_done_once(fleet: &Fleet, told: &Told) -> Result<()> {
    let acknowledged: Vec<_> = told
        .iter()
        .filter(|(_, is)| **is)
        .map(|(id, _)| id)
        .collect();
    let mut entitlements = BTreeMap::new();
    for place in [0, 1] {
        let operator = fleet.control_plane(place).operator()?;
        let listed = operator
            .json(&["list", "--id", "spiffe://example.org/act"])
            .await?;
        let listed = listed["items"].as_array().context("a list")?;
        for id in &acknowledged {
            let its: Vec<_> = listed.iter().filter(|it| it["id"] == id.as_str()).collect();
            ensure!(
                its.len() == 1,
                "{id} is there {} times at {place}",
                its.len()
            );
            let entitlement = its[0]["entitlement"].as_str().context("a name")?;
            entitlements.insert(entitlement.to_owned(), id.to_string());
        }
    }
    let mut wrong = Vec::new();
    let published = wait::until("their entries", wait::BOUND, async || {
        let entries = fleet.judge().entries().await.ok()?;
        let registered = entries.iter().filter(|entry| entry["kind"] == "registered");
        let registered: Vec<_> = registered.map(|entry| &entry["entitlement"]).collect();
        let count = |it: &str| registered.iter().filter(|entry| **entry == it).count();
        let not_once = entitlements.iter().filter(|(its, _)| count(its) != 1);
        wrong = not_once
            .map(|(its, id)| format!("{id}: {}", count(its)))
            .collect();
        wrong.is_empty().then_some(())
    });
    published.await.with_context(|| format!("{wrong:?}"))?;
    measured(&format!(
        "{} acts were acknowledged, {} were not",
        acknowledged.len(),
        told.len() - acknowledged.len()
    ));
    Ok(())
}
