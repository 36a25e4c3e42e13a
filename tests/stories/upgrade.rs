//! The newest release and this version at once, on one database and under load: control planes first, sidecars
//! first, and back.
//!
//! Two Envoys carry the traffic, so that a sidecar that is replaced takes no connection with it. While one of
//! the two control planes is replaced the sidecars are at the other. Certificates are renewed every few seconds
//! all the while: each is in a log, and both versions judge the logs.

use anyhow::{Context, Result, ensure};
use countersign_tests::binaries::Programs;
use countersign_tests::control_plane::Settings;
use countersign_tests::envoy::Dialect;
use countersign_tests::mesh::node_id;
use countersign_tests::{Command, ControlPlane, Mesh, Sidecar, released, wait};
use countersign_tests_postgres::{Database, shared};
use serde_json::Value;

use crate::scene::{Proxy, STEADY, Scene, Traffic};
use crate::verdict::Judge;

/// Renewals of each identity between two steps.
const BETWEEN: usize = 1;
/// The level of this version.
const OWN: i64 = 3;
/// Fewer than a story has while nothing is lost.
const REQUESTS: u64 = 1_000;
/// Owner of a registration that a story adds.
const OWNER: [&str; 2] = ["--owner", "team-test"];

#[tokio::test(flavor = "multi_thread")]
async fn control_planes_are_upgraded_before_sidecars() -> Result<()> {
    let mut fleet = Fleet::start().await?;
    let traffic = fleet.scene.traffic().await?;
    traffic.renewals(BETWEEN).await?;

    fleet.replace_b(&Programs::Ours).await?;
    traffic.renewals(BETWEEN).await?;
    fleet.holds_back("a").await?;
    fleet.each_takes_what_the_other_does().await?;
    fleet.replace_a(&Programs::Ours).await?;
    traffic.renewals(BETWEEN).await?;
    fleet.replace_sidecars(&Programs::Ours).await?;
    traffic.renewals(BETWEEN).await?;

    let level = fleet.b().operator()?.json(&["replica", "raise"]).await?;
    ensure!(level["level"] == OWN, "{level}");
    fleet.a_is_refused_as_the_release().await?;
    traffic.renewals(BETWEEN).await?;
    fleet.judged(traffic).await
}

#[tokio::test(flavor = "multi_thread")]
async fn sidecars_are_upgraded_before_control_planes_and_all_go_back() -> Result<()> {
    let mut fleet = Fleet::start().await?;
    let traffic = fleet.scene.traffic().await?;
    traffic.renewals(BETWEEN).await?;

    fleet.replace_sidecars(&Programs::Ours).await?;
    traffic.renewals(BETWEEN).await?;
    fleet.replace_a(&Programs::Ours).await?;
    traffic.renewals(BETWEEN).await?;
    fleet.replace_b(&Programs::Ours).await?;
    traffic.renewals(BETWEEN).await?;
    fleet.level_is(released::named()?.level).await?;

    let release = fleet.release.clone();
    fleet.replace_b(&release).await?;
    traffic.renewals(BETWEEN).await?;
    fleet.holds_back("b").await?;
    fleet.replace_a(&release).await?;
    fleet.replace_sidecars(&release).await?;
    traffic.renewals(BETWEEN).await?;
    fleet.judged(traffic).await
}

/// Two control planes, and a service and a client with a sidecar and an Envoy each. All begin as the release.
struct Fleet {
    scene: Scene,
    release: Programs,
    database: Database,
}

impl Fleet {
    async fn start() -> Result<Self> {
        let release = released::programs().await?;
        let database = shared().database();
        let settings = Settings {
            renew_at: STEADY.renew_at,
            programs: release.clone(),
            ..Settings::default()
        };
        let mut mesh = Mesh::start(&settings.clone().on(&database, "a")).await?;
        mesh.join("b", settings.on(&database, "b")).await?;
        let envoy = Proxy::Envoy(Dialect::Delta);
        let scene = Scene::of(mesh, envoy, envoy, STEADY).await?;
        Ok(Self {
            scene,
            release,
            database,
        })
    }

    fn a(&self) -> &ControlPlane {
        self.scene.mesh.control_plane()
    }

    fn b(&self) -> &ControlPlane {
        self.scene.mesh.control_planes()[1]
    }

    async fn replace_a(&mut self, by: &Programs) -> Result<()> {
        replace(self.scene.mesh.control_plane_mut(), by).await
    }

    async fn replace_b(&mut self, by: &Programs) -> Result<()> {
        replace(self.scene.mesh.control_plane_at_mut(1), by).await
    }

    /// One after the other. What they held before comes from their state.
    async fn replace_sidecars(&mut self, by: &Programs) -> Result<()> {
        for sidecar in [&mut self.scene.web, &mut self.scene.client] {
            let ended = sidecar.process().terminate(wait::BOUND).await?;
            ensure!(ended.success(), "a sidecar ended with {ended}");
            sidecar.start_again_as(by)?;
            sidecar.ready().await?;
        }
        Ok(())
    }

    /// The operator of this version, and that of the release, at both control planes.
    fn operators(&self) -> Result<Vec<Command>> {
        let versions = [Programs::Ours, self.release.clone()];
        let each = versions.iter().flat_map(|of| {
            let planes = [self.a(), self.b()];
            planes.map(|plane| plane.operator_of(of))
        });
        each.collect()
    }

    async fn level_is(&self, level: i64) -> Result<()> {
        for plane in [self.a(), self.b()] {
            let listed = plane.operator()?.json(&["replica", "list"]).await?;
            let told = &listed["level"];
            ensure!(told["level"] == level, "{told}");
            ensure!(told["held_back_by"] == serde_json::json!([]), "{told}");
        }
        Ok(())
    }

    /// One of the two is the release, and the other says what that means. Both are well.
    async fn holds_back(&self, name: &str) -> Result<()> {
        for plane in [self.a(), self.b()] {
            plane.ready().await?;
        }
        let newer = if name == "a" { self.b() } else { self.a() };
        let operator = newer.operator()?;
        let listed = operator.json(&["replica", "list"]).await?;
        let level = &listed["level"];
        ensure!(level["level"] == released::named()?.level, "{level}");
        ensure!(level["speaks"] == OWN, "{level}");
        ensure!(
            level["held_back_by"] == serde_json::json!([name]),
            "{level}"
        );
        let status = operator.text(&["status"]).await?;
        let remedy = format!("replica remove --name {name}");
        ensure!(status.contains(&remedy), "{status}");
        let refused = operator.run(&["replica", "raise", "--json"]).await?;
        ensure!(refused.error()?["code"] == "level_held_back", "{refused:?}");
        Ok(())
    }

    /// What is registered at one is known at the other, and any operator's program may ask any of them.
    async fn each_takes_what_the_other_does(&self) -> Result<()> {
        let both = [self.a(), self.b()];
        for (id, plane) in [("of-a", both[0]), ("of-b", both[1])] {
            let id = format!("spiffe://example.org/{id}");
            let node = node_id("a");
            let key = ["register", "--node", &node, "--id", &id];
            let selector = ["--selector", "unix:uid:54321"];
            let register = [&key[..], &selector, &OWNER].concat();
            plane.operator()?.text(&register).await?;
        }
        for operator in self.operators()? {
            let both = wait::until("both registrations", wait::BOUND, async || {
                let listed = operator.text(&["list", "--json"]).await.ok()?;
                let has = |id: &str| listed.contains(&format!("spiffe://example.org/{id}"));
                (has("of-a") && has("of-b")).then_some(())
            });
            both.await?;
            for verb in [&["status"][..], &["replica", "list"], &["ca", "status"]] {
                operator.json(verb).await?;
            }
        }
        Ok(())
    }

    /// The level was raised, so the release does not start any more, and touches nothing.
    async fn a_is_refused_as_the_release(&mut self) -> Result<()> {
        let release = self.release.clone();
        let plane = self.scene.mesh.control_plane_mut();
        let ended = plane.process().terminate(wait::BOUND).await?;
        ensure!(ended.success(), "the drain ended with {ended}");
        let written = self.written_by("a");
        let is_there = |row: &Vec<String>| row.iter().all(|it| !it.is_empty());
        ensure!(written.len() == 1 && is_there(&written[0]), "{written:?}");
        let plane = self.scene.mesh.control_plane_mut();
        plane.launch_again(&release)?;
        let process = plane.process();
        let ended = wait::until("end", wait::BOUND, async || process.exited()).await?;
        let told = process.log();
        ensure!(!ended.success(), "it ended with {ended}");
        ensure!(told.contains("install the newer release"), "{told}");
        ensure!(
            self.written_by("a") == written,
            "the release wrote something"
        );
        let plane = self.scene.mesh.control_plane_mut();
        plane.launch_again(&Programs::Ours)?;
        plane.ready().await?;
        self.level_is(OWN).await
    }

    /// The row of a writer, and how far its log goes.
    fn written_by(&self, name: &str) -> Vec<Vec<String>> {
        self.database.sql(&format!(
            "SELECT w.run::text, w.batch::text, (SELECT MAX(e.seq)::text FROM countersign.log_entries e \
             WHERE e.log_id = (r.value::json->>'log_id')::bigint) \
             FROM countersign.writers w JOIN countersign.entries r ON r.kind = 'replica' AND r.key = w.name \
             WHERE w.name = '{name}'"
        ))
    }

    /// Nothing was lost, nothing came back that was replaced, and whatever was served is in a log, which both
    /// versions find sound.
    async fn judged(self, traffic: Traffic) -> Result<()> {
        let judge = Judge {
            scene: &self.scene,
            url: &self.database.url(),
        };
        let tally = judge.nothing_was_lost(traffic).await?;
        ensure!(tally.requests_ok > REQUESTS, "{tally:?}");
        let release = Command::new(self.release.find("countersign")?);
        let sound = judge.logs_are_sound(&release).await;
        sound.context("by the release")?;
        self.sidecars_hold().await
    }

    async fn sidecars_hold(&self) -> Result<()> {
        for sidecar in [&self.scene.web, &self.scene.client] {
            let status: Value = Sidecar::status(sidecar).await?;
            ensure!(status["control_plane"]["connected"] == true, "{status}");
        }
        Ok(())
    }
}

/// Ends a control plane in good order and starts it as another version.
async fn replace(plane: &mut ControlPlane, by: &Programs) -> Result<()> {
    let ended = plane.process().terminate(wait::BOUND).await?;
    ensure!(ended.success(), "the drain ended with {ended}");
    plane.launch_again(by)?;
    plane.ready().await.context("after it was replaced")
}
