//! The clock of one of two control planes is set two hours ahead, and two hours back.
//!
//! What time ends is removed by the first by name. So in both stories that is the one by whose clock something
//! is over that is not by the clock of the other: the wrong one where it is ahead, and the right one, which
//! cannot know that it is, where the other is behind.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use countersign_tests::envoy::Dialect::Delta;
use countersign_tests::host::Equipment;
use countersign_tests::mesh::node_id;
use countersign_tests::sidecar::Listeners;
use countersign_tests::{Sidecar, wait};
use serde_json::Value;

use super::fleet::{Fleet, Wanted, now};
use crate::measured;
use crate::scene::{Proxy, STEADY, Traffic};

const TWO_HOURS: i64 = 2 * 3_600;
/// Its right ends within these two hours.
const SHORT: &str = "spiffe://example.org/short";
/// Its right ends by the clock of one that is right while the other is behind.
const BRIEF: &str = "spiffe://example.org/brief";
/// Of a node that has not come yet; its token ends within two hours too.
const LATE: &str = "c";
/// In the order of names: the first removes what time ends.
const FIRST: usize = 0;
const SECOND: usize = 1;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_ends_by_the_clock_of_one_that_is_ahead() -> Result<()> {
    let story = Story::begin(FIRST).await?;
    story.set_clock(TWO_HOURS).await?;
    story.nothing_ended(&[SHORT]).await?;
    story.set_right().await
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_ends_while_the_clock_of_one_is_behind() -> Result<()> {
    let story = Story::begin(SECOND).await?;
    story.set_clock(-TWO_HOURS).await?;
    // The shortest that is taken is 20 s, however slow the machine is.
    story.register(FIRST, BRIEF, "25s").await?;
    let end = now() + Duration::from_secs(25);
    let over = async || (now() > end).then_some(());
    wait::until("its end", 2 * wait::BOUND, over).await?;
    // It is looked at each second, and renewals take several.
    story.traffic.renewals(2).await?;
    story.nothing_ended(&[SHORT, BRIEF]).await?;
    story.set_right().await
}

/// Two control planes, of which one has the service's sidecar and gets a wrong clock.
struct Story {
    fleet: Fleet,
    traffic: Traffic,
    wrong: usize,
}

impl Story {
    async fn begin(wrong: usize) -> Result<Self> {
        let mut fleet = Fleet::start(Wanted {
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
        fleet.has_service_at(wrong).await?;
        let traffic = fleet.traffic().await?;
        let story = Self {
            fleet,
            traffic,
            wrong,
        };
        story.register(1 - wrong, SHORT, "1h").await?;
        Ok(story)
    }

    /// Registers what ends so long from now on.
    async fn register(&self, place: usize, id: &str, ends_in: &str) -> Result<()> {
        let node = node_id("a");
        let what = ["register", "--id", id, "--node", &node];
        let how = ["--selector", "unix:uid:4242", "--owner", "team-test"];
        let register = [&what[..], &how, &["--expires-in", ends_in]].concat();
        let operator = self.fleet.control_plane(place).operator()?;
        operator.text(&register).await.map(drop)
    }

    /// Sets the clock, whereupon the sidecars leave for the other, which goes on. So does a node that comes now.
    async fn set_clock(&self, ahead: i64) -> Result<()> {
        let (fleet, wrong, right) = (&self.fleet, self.wrong, 1 - self.wrong);
        let late = fleet.scene.mesh.invite(LATE).await?;
        let its = fleet.sidecars_at(wrong).await?;
        ensure!(!its.is_empty(), "no sidecar leaves");
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
        self.traffic.renewals(3).await?;
        let apis = fleet.scene.mesh.apis();
        let sidecar = Sidecar::start_among(&late, &apis, &Listeners::default())?;
        let ready = sidecar.ready().await;
        ready.context("a token that has an hour to go")
    }

    /// At both, every node is there, and so is what is registered.
    async fn nothing_ended(&self, registered: &[&str]) -> Result<()> {
        for place in [FIRST, SECOND] {
            let operator = self.fleet.control_plane(place).operator()?;
            let nodes = operator.json(&["node", "list"]).await?;
            for node in ["a", "b"] {
                let it = item(&nodes, &node_id(node));
                let it = it.with_context(|| format!("{node} is gone: {nodes}"))?;
                ensure!(it["evicted"].is_null() && it["banned"].is_null(), "{it}");
            }
            let listed = operator.json(&["list"]).await?;
            for id in registered {
                ensure!(item(&listed, id).is_some(), "{id} is gone: {listed}");
            }
        }
        Ok(())
    }

    /// Sets the clock right: then ends what is over by both clocks, and nothing else.
    async fn set_right(self) -> Result<()> {
        let fleet = &self.fleet;
        fleet.host(self.wrong)?.set_clock(0)?;
        for place in [FIRST, SECOND] {
            fleet.is_well(place).await?;
            let operator = fleet.control_plane(place).operator()?;
            let ended = wait::until("the end of what is over", wait::BOUND, async || {
                let listed = operator.json(&["list"]).await.ok()?;
                item(&listed, BRIEF).is_none().then_some(())
            });
            ended.await?;
        }
        self.nothing_ended(&[SHORT]).await?;
        self.traffic.renewals(2).await?;
        self.fleet.nothing_was_lost(self.traffic).await
    }
}

/// The row of an ID.
fn item<'a>(listed: &'a Value, id: &str) -> Option<&'a Value> {
    let items = listed["items"].as_array()?;
    items.iter().find(|it| it["id"] == id)
}
