//! Sidecars that know one control plane, are told of the others, and go where there are fewer.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use countersign_tests::control_plane::Settings;
use countersign_tests::sidecar::Listeners;
use countersign_tests::{Mesh, Sidecar, wait};
use countersign_tests_postgres::Cluster;
use jiff::SignedDuration;
use rustix::process::Signal;
use serde_json::Value;

use super::fleet::{Fleet, now};
use crate::measured;
use crate::scene::{Pace, Proxy, Scene};

/// Beside those of the service and its client.
const IDLE: usize = 12;
/// Of fourteen streams one of two keeps at most this many: its share, and what chance makes.
const KEPT: usize = 7 + 4;
/// A stream is left alone for 30 s, rows are 5 s old, and 15 s lie between one wish and the next.
const SPREAD_WITHIN: SignedDuration = SignedDuration::from_secs(150);
/// All at once, on the machine of a test.
const BACK_WITHIN: SignedDuration = SignedDuration::from_secs(10);
/// Nothing is due while the story runs, so whatever is issued is issued again.
const LONG: Pace = Pace {
    ttl: "1h",
    renew_at: 0.45,
};

#[tokio::test(flavor = "multi_thread")]
async fn sidecars_that_know_one_address_are_spread_and_come_back() -> Result<()> {
    let (mut fleet, idle, settings) = fleet().await?;
    let [web, client] = fleet.sidecars();
    let all: Vec<_> = idle.iter().chain([web, client]).collect();
    for sidecar in &all {
        ensure!(fleet.place_of(sidecar).await? == 0, "there is one alone");
    }
    let before = serials(&all).await?;
    let traffic = fleet.scene.traffic().await?;
    traffic.requests(500).await?;

    let since = now();
    fleet
        .scene
        .mesh
        .join("b", settings.at(&fleet.url, "b"))
        .await?;
    let all: Vec<_> = idle.iter().chain(fleet.sidecars()).collect();
    for sidecar in &all {
        sidecar.knows(2).await?;
        ensure!(!left_in_silence(sidecar), "left what serves it");
    }
    let bound = SPREAD_WITHIN.unsigned_abs();
    let spread = wait::until("streams at both", bound, async || {
        let both = [streams(&fleet, 0).await?, streams(&fleet, 1).await?];
        let is_spread = both.iter().all(|count| *count <= KEPT);
        (is_spread && both.iter().sum::<usize>() == all.len()).then_some(both)
    });
    let [here, _] = spread.await?;
    let took = now().duration_since(since);
    let asked = all.iter().filter(|it| is_rebalanced(it)).count();
    measured(&format!(
        "{here} of {} streams are at the first {took:#} after another joined, {asked} were asked",
        all.len()
    ));
    ensure!(serials(&all).await? == before, "certified again");
    traffic.requests(500).await?;

    // The one address that they were given does not answer any more.
    let mut at_first = Vec::new();
    for sidecar in &all {
        if fleet.place_of(sidecar).await? == 0 {
            at_first.push(*sidecar);
        }
    }
    let since = now();
    fleet.control_plane(0).process().signal(Signal::KILL)?;
    let took = fleet.come_to(1, &at_first, since).await?;
    measured(&format!(
        "{} streams were at the other {took:#} after SIGKILL",
        at_first.len()
    ));
    ensure!(took < BACK_WITHIN, "{took:#}");
    traffic.requests(500).await?;
    ensure!(serials(&all).await? == before, "certified again");
    fleet
        .scene
        .mesh
        .control_plane_at_mut(0)
        .start_again()
        .await?;
    fleet.nothing_was_lost(traffic).await
}

/// One control plane that tells where it is, and sidecars that are given its address.
async fn fleet() -> Result<(Fleet, Vec<Sidecar>, Settings)> {
    let primary = Cluster::start();
    let url = primary.database().url();
    let settings = Settings {
        advertises: true,
        ..Settings::default()
    };
    let mesh = Mesh::start(&settings.clone().at(&url, "a")).await?;
    let scene = Scene::of(mesh, Proxy::Sidecar, Proxy::Sidecar, LONG).await?;
    let mut idle = Vec::new();
    for number in 0..IDLE {
        let name = format!("idle-{number}");
        let sidecar = scene.mesh.sidecar(&name, &Listeners::default()).await?;
        idle.push(sidecar);
    }
    let fleet = Fleet {
        scene,
        url,
        primary,
        standby: None,
    };
    Ok((fleet, idle, settings))
}

/// How many streams a control plane says that it has.
async fn streams(fleet: &Fleet, place: usize) -> Option<usize> {
    let plane = fleet.control_plane(place);
    let list = plane
        .operator()
        .ok()?
        .json(&["replica", "list"])
        .await
        .ok()?;
    let own = list["items"]
        .as_array()?
        .iter()
        .find(|it| it["answers"] == true)?;
    usize::try_from(own["streams"].as_u64()?).ok()
}

/// Whether a sidecar went to another control plane by the wish of one.
fn is_rebalanced(sidecar: &Sidecar) -> bool {
    let events = sidecar.process().events();
    let mut opened = events
        .iter()
        .filter(|it| it["message"] == "control plane connected");
    opened.any(|it| it["reason"] == "rebalanced")
}

/// Whether a sidecar went to another one because it heard nothing.
fn left_in_silence(sidecar: &Sidecar) -> bool {
    let events = sidecar.process().events();
    let mut silent = events.iter().map(|it| &it["message"]);
    silent.any(|it| it == "control plane silent, another is taken")
}

/// What each sidecar holds.
async fn serials(sidecars: &[&Sidecar]) -> Result<BTreeSet<String>> {
    let mut serials = BTreeSet::new();
    for sidecar in sidecars {
        let status = sidecar.status().await?;
        let items = status["identities"]["items"]
            .as_array()
            .context("no identities")?;
        serials.extend(items.iter().map(|it: &Value| it["serial"].to_string()));
    }
    Ok(serials)
}
