//! A control plane that is lost, and one that is made from its backup.

use anyhow::{Context, Result, ensure};
use countersign_tests::control_plane::Settings;
use countersign_tests::sidecar::Listeners;
use countersign_tests::{Command, Mesh, Registration, wait};
use serde_json::Value;

use crate::scene::WEB;

/// So short that everything is renewed while the story runs.
const TTL: &str = "20s";

#[tokio::test(flavor = "multi_thread")]
async fn sidecars_come_back_by_themselves_after_a_restore() -> Result<()> {
    let settings = Settings {
        x509_ttl: TTL,
        ..Settings::default()
    };
    let mut mesh = Mesh::start(&settings).await?;
    mesh.register(&Registration::new(WEB, "a").for_ttl(TTL))
        .await?;
    let sidecar = mesh.sidecar("a", &Listeners::default()).await?;
    sidecar.ready().await?;
    let operator = mesh.operator()?;
    let held = serials(&operator, |_| true).await?;
    let cp = mesh.control_plane().folder().to_owned();
    let file = cp.join("backup.tar");
    let path = file.to_str().context("a path of ours")?;
    let made = operator.json(&["backup", "--out", path]).await?;
    let old = made["log_id"].as_str().context("a log id")?.to_owned();

    // The node's own key, too, is one that the backup does not know.
    let renewed = |now: &Vec<String>| now.iter().all(|serial| !held.contains(serial));
    serials(&operator, renewed).await?;
    mesh.control_plane().process().kill();
    std::fs::rename(cp.join("data"), cp.join("lost"))?;
    std::fs::remove_file(sidecar.folder().join("token"))?;
    std::fs::remove_file(sidecar.folder().join("bundle.pem"))?;

    let data = cp.join("data");
    let data = data.to_str().context("a path of ours")?;
    let restore = ["restore", "--in", path, "--data-dir", data];
    let restored = operator.json(&restore).await?;
    let new = restored["log_id"].as_str().context("a log id")?.to_owned();
    ensure!(restored["previous_log_id"] == old, "{restored}");
    mesh.control_plane_mut().start_again().await?;
    let of_new_log = |now: &Vec<String>| now.iter().all(|serial| serial.starts_with(&new));
    serials(&operator, of_new_log).await?;
    sidecar.ready().await?;
    Ok(())
}

/// The serials that the node and its workload have acknowledged, once they are such.
async fn serials(operator: &Command, wanted: impl Fn(&Vec<String>) -> bool) -> Result<Vec<String>> {
    wait::until("acknowledged serials", wait::BOUND, async || {
        let status = operator.json(&["status"]).await.ok()?;
        let node = &status["nodes"][0];
        let endpoints = node["endpoints"].as_array()?;
        let serial = |endpoint: &Value| endpoint["acknowledged"].as_str().map(str::to_owned);
        let serials: Vec<_> = endpoints.iter().filter_map(serial).collect();
        let is_settled = serials.len() == 2 && node["connected"].as_bool()?;
        (is_settled && wanted(&serials)).then_some(serials)
    })
    .await
}
