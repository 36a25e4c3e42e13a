//! Two control planes on hosts of their own, a service and its client with their proxies, and traffic.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use countersign_tests::control_plane::Settings;
use countersign_tests::host::{Equipment, Network};
use countersign_tests::mesh::node_id;
use countersign_tests::{Answer, ControlPlane, Host, Mesh, Sidecar, clock, wait};
use countersign_tests_postgres::{Cluster, NAMES, Setup, Url, authority};
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::scene::{Pace, Proxy, Scene, Traffic};
use crate::verdict::Judge;

/// What they are called, in the order in which they joined.
pub(super) const NAMES_OF_REPLICAS: [&str; 2] = ["a", "b"];
/// Two seconds are promised; the machine of a test has other things to do.
pub(super) const PROMISED: SignedDuration = SignedDuration::from_secs(4);
/// The exit code of the operator's program where something cannot be done now.
const UNAVAILABLE: i32 = 4;

/// So many in a row draw the same of two once in a million.
const STARTS: usize = 20;

/// What a story asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    /// At the service and at its client.
    pub(super) proxies: [Proxy; 2],
    pub(super) pace: Pace,
    /// The lifetime of what nodes hold themselves.
    pub(super) node_ttl: &'static str,
    pub(super) equipment: Equipment,
    /// A second server follows the first, which acknowledges nothing that the second has not.
    pub(super) has_standby: bool,
}

/// Everything that runs. Dropped top-down.
pub(super) struct Fleet {
    pub(super) scene: Scene,
    /// How the test reaches the database, whichever server has it.
    pub(super) url: Url,
    pub(super) primary: Cluster,
    pub(super) standby: Option<Cluster>,
}

impl Fleet {
    pub(super) async fn start(wanted: Wanted) -> Result<Self> {
        let hosts = [
            Arc::new(Host::start(wanted.equipment).await?),
            Arc::new(Host::start(wanted.equipment).await?),
        ];
        let setup = Setup {
            settings: vec![("listen_addresses", "0.0.0.0")],
            ..Setup::default()
        };
        let primary = Cluster::with(setup);
        let standby = wanted.has_standby.then(|| {
            let standby = primary.standby();
            primary.require(&standby);
            standby
        });
        let servers: Vec<_> = std::iter::once(&primary).chain(&standby).collect();
        prove_to(&hosts, &servers);
        let base = primary.database().url();
        let url = |host: &Host| through(host, &base, &servers);
        let settings = |host: &Arc<Host>| Settings {
            renew_at: wanted.pace.renew_at,
            x509_ttl: wanted.node_ttl,
            host: Some(Arc::clone(host)),
            ..Settings::default()
        };
        let [first, second] = &hosts;
        let [a, b] = NAMES_OF_REPLICAS;
        let mut mesh = Mesh::start(&settings(first).at(&url(first), a)).await?;
        mesh.join(b, settings(second).at(&url(second), b)).await?;
        let here: Vec<_> = servers.iter().map(|server| server.address()).collect();
        let [server, client] = wanted.proxies;
        Ok(Self {
            scene: Scene::of(mesh, server, client, wanted.pace).await?,
            url: base.at(&here).with("target_session_attrs", "read-write"),
            primary,
            standby,
        })
    }

    /// Ends the traffic, and judges what came of it.
    pub(super) async fn nothing_was_lost(&self, traffic: Traffic) -> Result<()> {
        self.judge().nothing_was_lost(traffic).await.map(drop)
    }

    pub(super) fn judge(&self) -> Judge<'_> {
        Judge {
            scene: &self.scene,
            url: &self.url,
        }
    }

    pub(super) async fn traffic(&self) -> Result<Traffic> {
        let traffic = self.scene.traffic().await?;
        traffic.renewals(2).await?;
        Ok(traffic)
    }

    pub(super) fn control_plane(&self, place: usize) -> &ControlPlane {
        self.scene.mesh.control_planes()[place]
    }

    /// The host of a control plane.
    pub(super) fn host(&self, place: usize) -> Result<&Host> {
        let host = self.control_plane(place).host();
        host.context("each has a host of its own")
    }

    /// The sidecars of the service and of its client.
    pub(super) fn sidecars(&self) -> [&Sidecar; 2] {
        [&self.scene.web, &self.scene.client]
    }

    /// At which control plane a sidecar has its stream.
    pub(super) async fn place_of(&self, sidecar: &Sidecar) -> Result<usize> {
        wait::until("an open stream", wait::BOUND, async || {
            let link = sidecar.status().await.ok()?["control_plane"].clone();
            let address = link["address"].as_str()?;
            let is_its = |api: &SocketAddr| address.ends_with(&api.to_string());
            let place = self.scene.mesh.apis().iter().position(is_its)?;
            (link["connected"] == true).then_some(place)
        })
        .await
    }

    /// The sidecars that are at a control plane, the service's first.
    pub(super) async fn sidecars_at(&self, place: usize) -> Result<Vec<&Sidecar>> {
        let mut there = Vec::new();
        for sidecar in self.sidecars() {
            if self.place_of(sidecar).await? == place {
                there.push(sidecar);
            }
        }
        Ok(there)
    }

    /// The control plane that the service's sidecar is at, and all sidecars that are there too.
    pub(super) async fn victim(&self) -> Result<(usize, Vec<&Sidecar>)> {
        let victim = self.place_of(&self.scene.web).await?;
        Ok((victim, self.sidecars_at(victim).await?))
    }

    /// Has the service's sidecar be at a control plane: each of its starts draws one of them.
    pub(super) async fn has_service_at(&mut self, place: usize) -> Result<()> {
        for _ in 0..STARTS {
            if self.place_of(&self.scene.web).await? == place {
                return Ok(());
            }
            let web = &mut self.scene.web;
            let ended = web.process().terminate(wait::BOUND).await?;
            ensure!(ended.success(), "a sidecar ended with {ended}");
            web.start_again()?;
            web.ready().await?;
        }
        anyhow::bail!("{STARTS} starts drew the same control plane")
    }

    /// Waits until each of these sidecars has a stream at a control plane that it opened after a moment; how
    /// long after it the last did.
    pub(super) async fn come_to(
        &self,
        place: usize,
        sidecars: &[&Sidecar],
        since: Timestamp,
    ) -> Result<SignedDuration> {
        let api = self.control_plane(place).api().to_string();
        let mut last = SignedDuration::ZERO;
        for sidecar in sidecars {
            let what = format!("a stream at {api}");
            let opened = sidecar.process().wait_for(&what, async |process| {
                let events = process.events();
                events
                    .iter()
                    .find_map(|event| opened_at(event, &api, since))
            });
            last = last.max(opened.await?.duration_since(since));
        }
        Ok(last)
    }

    /// Waits until a control plane says something in `status` and in readiness.
    pub(super) async fn says(&self, place: usize, what: &str) -> Result<()> {
        let plane = self.control_plane(place);
        let says = plane.process().wait_for(what, async |_| {
            let status = plane.operator().ok()?.json(&["status"]).await.ok()?;
            let (_, ready) = plane.get("/readyz").await.ok()?;
            (status.to_string().contains(what) && ready.contains(what)).then_some(())
        });
        says.await
    }

    /// What stands in the way of issuing at a control plane, which is not ready for it.
    pub(super) async fn is_obstructed(&self, place: usize, by: &str) -> Result<()> {
        self.says(place, by).await?;
        let (code, ready) = self.control_plane(place).get("/readyz").await?;
        let is_told = code == StatusCode::SERVICE_UNAVAILABLE && ready.contains(by);
        ensure!(is_told, "{code} {ready}");
        Ok(())
    }

    /// Waits until nothing stands in the way of a control plane any more, and no clock is in doubt.
    pub(super) async fn is_well(&self, place: usize) -> Result<()> {
        let plane = self.control_plane(place);
        let mut last = Value::Null;
        let well = wait::until("no obstacles", wait::BOUND, async || {
            let status = plane.operator().ok()?.json(&["status"]).await.ok()?;
            let (code, ready) = plane.get("/readyz").await.ok()?;
            last = status["obstacles"].clone();
            let is_well = last.as_array().is_some_and(Vec::is_empty) && code == StatusCode::OK;
            (is_well && !ready.contains("clocks_differ")).then_some(())
        });
        well.await.with_context(|| format!("last: {last}"))
    }

    /// Registers an identity of a node at a control plane; what the operator is told.
    pub(super) async fn register(&self, place: usize, id: &str, node: &str) -> Result<Answer> {
        let uid = format!("unix:uid:{}", rustix::process::geteuid().as_raw());
        let node = node_id(node);
        let register = [
            "register",
            "--create",
            "--id",
            id,
            "--node",
            &node,
            "--selector",
            &uid,
            "--owner",
            "team-test",
            "--json",
        ];
        self.control_plane(place).operator()?.run(&register).await
    }

    /// A control plane refuses an act as one that may be tried again.
    pub(super) async fn refuses(&self, place: usize, id: &str) -> Result<()> {
        let answer = self.register(place, id, "a").await?;
        ensure!(answer.code == Some(UNAVAILABLE), "{answer:?}");
        ensure!(answer.error()?["code"] == "unavailable", "{answer:?}");
        Ok(())
    }
}

/// When a sidecar opened a stream, if that is what an event tells.
fn opened_at(event: &Value, api: &str, since: Timestamp) -> Option<Timestamp> {
    let is_it =
        event["message"] == "control plane connected" && event["address"].as_str()?.ends_with(api);
    let at: Timestamp = event["timestamp"].as_str()?.parse().ok()?;
    (is_it && at >= since).then_some(at)
}

/// Has the servers show certificates for the addresses at which the hosts reach them.
fn prove_to(hosts: &[Arc<Host>], servers: &[&Cluster]) {
    let gateways = hosts.iter().map(|host| host.gateway(Network::Database));
    let gateways: Vec<_> = gateways.map(|address| address.to_string()).collect();
    let names: Vec<_> = NAMES
        .into_iter()
        .chain(gateways.iter().map(String::as_str))
        .collect();
    for server in servers {
        server.show(authority(), &names);
    }
}

/// The database as a host reaches it.
fn through(host: &Host, url: &Url, servers: &[&Cluster]) -> Url {
    let gateway = host.gateway(Network::Database);
    let addresses = servers
        .iter()
        .map(|it| (gateway, it.address().port()).into());
    url.clone().at(&addresses.collect::<Vec<_>>())
}

/// The time now.
pub(super) fn now() -> Timestamp {
    clock::now()
}
