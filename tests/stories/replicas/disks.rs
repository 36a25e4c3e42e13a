//! A disk that is full at one of two control planes.

use anyhow::{Result, ensure};
use countersign_tests::envoy::Dialect::{Delta, StateOfTheWorld};
use countersign_tests::host::Equipment;

use super::fleet::{Fleet, Wanted, now};
use crate::measured;
use crate::scene::{Proxy, STEADY};

const MORE: &str = "spiffe://example.org/more";
const LATE: &str = "spiffe://example.org/late";

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_where_the_disk_of_a_control_plane_is_full() -> Result<()> {
    let fleet = Fleet::start(Wanted {
        proxies: [Proxy::Envoy(StateOfTheWorld), Proxy::Envoy(Delta)],
        pace: STEADY,
        equipment: Equipment {
            small_disk: true,
            ..Equipment::default()
        },
        node_ttl: "1h",
        has_standby: false,
    })
    .await?;
    let traffic = fleet.traffic().await?;
    let (full, its) = fleet.victim().await?;
    let since = now();
    fleet.control_plane(full).fill_disk()?;
    let took = fleet.come_to(1 - full, &its, since).await?;
    measured(&format!(
        "{} sidecars were at the other {took:#} after the disk was full",
        its.len()
    ));
    fleet.is_obstructed(full, "No space left on device").await?;
    fleet.refuses(full, MORE).await?;
    traffic.renewals(3).await?;
    let late = fleet.register(1 - full, LATE, "a").await?;
    ensure!(late.code == Some(0), "{late:?}");

    // Room is all that it needs.
    fleet.control_plane(full).free_disk()?;
    fleet.is_well(full).await?;
    let more = fleet.register(full, MORE, "a").await?;
    ensure!(more.code == Some(0), "{more:?}");
    traffic.renewals(1).await?;
    fleet.nothing_was_lost(traffic).await
}
