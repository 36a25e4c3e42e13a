//! A control plane that is lost, and one that is made from its backup.

use anyhow::{Context, Result, ensure};
use countersign_tests::control_plane::Settings;
use countersign_tests::mesh::node_id;
use countersign_tests::sidecar::Listeners;
use countersign_tests::{Command, Mesh, Process, Registration, Sidecar, wait};
use serde_json::Value;

use crate::scene::{CLIENT, Pace, WEB};

/// So short that everything is renewed while the story runs.
const SHORT: Pace = Pace {
    ttl: "20s",
    renew_at: 0.45,
};
/// Renewed while the story runs, and valid until its end: no root is left by all that it certified.
const LASTING: Pace = Pace {
    ttl: "10m",
    renew_at: 0.01,
};

#[tokio::test(flavor = "multi_thread")]
async fn sidecars_come_back_by_themselves_after_a_restore() -> Result<()> {
    let mut scene = BackedUp::start(SHORT).await?;
    // The node's own key, too, is one that the backup does not know.
    scene.renewed().await?;
    std::fs::remove_file(scene.sidecar.folder().join("token"))?;
    std::fs::remove_file(scene.sidecar.folder().join("bundle.pem"))?;
    scene.restore().await?;
    scene.certified_again("a").await
}

#[tokio::test(flavor = "multi_thread")]
async fn restore_older_than_the_newest_root_is_told_and_mended() -> Result<()> {
    let mut scene = BackedUp::start(LASTING).await?;
    scene.rotate_root().await?;
    // It has nothing from before, and its workload's certificate is not due while the story runs.
    let late = scene.mesh.sidecar("b", &Listeners::default()).await?;
    serials(&scene.operator, "b", |_| true).await?;
    scene.restore().await?;
    scene.told("it trusts no issuer of our certificate").await?;
    scene
        .told("put a new join token into the token file")
        .await?;
    let control_plane = scene.mesh.control_plane().process();
    let refused = async |control_plane: &Process| {
        let events = control_plane.events();
        let refused = events
            .iter()
            .find(|it| it["message"] == "client certificate refused")?;
        Some(refused["reason"].clone())
    };
    let reason = control_plane
        .wait_for("word of the refusal", refused)
        .await?;
    ensure!(reason == "unknown_issuer", "{reason}");

    for node in ["a", "b"] {
        scene.mesh.invite(node).await?;
    }
    scene.certified_again("b").await?;
    late.ready().await?;
    scene.certified_again("a").await
}

/// A node and its workload, as a backup knows them.
struct BackedUp {
    // Dropped first: its folder is the mesh's.
    sidecar: Sidecar,
    mesh: Mesh,
    operator: Command,
    /// What the node and the workload had acknowledged before.
    held: Vec<String>,
    log_id: String,
}

impl BackedUp {
    async fn start(pace: Pace) -> Result<Self> {
        let settings = Settings {
            x509_ttl: pace.ttl,
            renew_at: pace.renew_at,
            ..Settings::default()
        };
        let mesh = Mesh::start(&settings).await?;
        let web = Registration::new(WEB, "a").for_ttl(pace.ttl);
        let client = Registration::new(CLIENT, "b").for_ttl("2h");
        mesh.register(&web).await?;
        mesh.register(&client).await?;
        let sidecar = mesh.sidecar("a", &Listeners::default()).await?;
        sidecar.ready().await?;
        let operator = mesh.operator()?;
        let held = serials(&operator, "a", |_| true).await?;
        let file = mesh.control_plane().folder().join("backup.tar");
        let made = operator.json(&["backup", "--out", path(&file)?]).await?;
        let log_id = made["log_id"].as_str().context("a log id")?.to_owned();
        Ok(Self {
            sidecar,
            mesh,
            operator,
            held,
            log_id,
        })
    }

    /// Waits until nothing is held any more that was held before.
    async fn renewed(&mut self) -> Result<()> {
        let is_new = |now: &Vec<String>| now.iter().all(|serial| !self.held.contains(serial));
        self.held = serials(&self.operator, "a", is_new).await?;
        Ok(())
    }

    /// Everything that is held is of a root that the backup does not know.
    async fn rotate_root(&mut self) -> Result<()> {
        let rotate = ["ca", "rotate-root", "--wait"];
        self.operator.json(&rotate).await?;
        self.held = serials(&self.operator, "a", |_| true).await?;
        self.renewed().await
    }

    /// The control plane is lost, and comes back as the backup knows it.
    async fn restore(&mut self) -> Result<()> {
        let cp = self.mesh.control_plane().folder().to_owned();
        self.mesh.control_plane().process().kill();
        std::fs::rename(cp.join("data"), cp.join("lost"))?;
        let (file, data) = (cp.join("backup.tar"), cp.join("data"));
        let restore = ["restore", "--in", path(&file)?, "--data-dir", path(&data)?];
        let restored = self.operator.json(&restore).await?;
        ensure!(restored["previous_log_id"] == self.log_id, "{restored}");
        let log_id = restored["log_id"].as_str().context("a log id")?;
        log_id.clone_into(&mut self.log_id);
        self.mesh.control_plane_mut().start_again().await
    }

    /// Waits until the sidecar says why it is not connected, to its operator and in its log.
    async fn told(&self, cause: &str) -> Result<()> {
        let mut last = Value::Null;
        let told = wait::until(cause, wait::BOUND, async || {
            let status = self.sidecar.status().await.ok()?;
            last = status["control_plane"].clone();
            last["problem"].as_str()?.contains(cause).then_some(())
        });
        let told = told.await;
        told.with_context(|| format!("last: {last}"))?;
        // The line is written by another thread than the one that answers.
        let sidecar = self.sidecar.process();
        sidecar
            .wait_for(cause, async |sidecar| {
                sidecar.log().contains(cause).then_some(())
            })
            .await
    }

    /// Waits until what is held is of the log that began with the restore.
    async fn certified_again(&self, node: &str) -> Result<()> {
        let log_id = &self.log_id;
        let is_new = |now: &Vec<String>| now.iter().all(|serial| serial.starts_with(log_id));
        serials(&self.operator, node, is_new).await?;
        self.sidecar.ready().await
    }
}

fn path(path: &std::path::Path) -> Result<&str> {
    path.to_str().context("a path of ours")
}

/// The serials that a node and its workload have acknowledged, once they are such.
async fn serials(
    operator: &Command,
    node: &str,
    wanted: impl Fn(&Vec<String>) -> bool,
) -> Result<Vec<String>> {
    let id = node_id(node);
    wait::until("acknowledged serials", wait::BOUND, async || {
        let status = operator.json(&["status"]).await.ok()?;
        let mut nodes = status["nodes"].as_array()?.iter();
        let node = nodes.find(|node| node["id"] == id)?;
        let endpoints = node["endpoints"].as_array()?;
        let serial = |endpoint: &Value| endpoint["acknowledged"].as_str().map(str::to_owned);
        let serials: Vec<_> = endpoints.iter().filter_map(serial).collect();
        let is_settled = serials.len() == 2 && node["connected"].as_bool()?;
        (is_settled && wanted(&serials)).then_some(serials)
    })
    .await
}
