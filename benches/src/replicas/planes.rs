//! Control planes that share a database.

use std::sync::LazyLock;
use std::time::Duration;

use anyhow::{Result, ensure};
use countersign_tests::fetch;
use countersign_tests_postgres::{Cluster, Database, Setup, shared};

use crate::issuance::plane::{Plane, Settings, until};

/// A control plane serves in this time.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// A PostgreSQL that does not wait for its disk: for what is made ready before anything is measured.
static HASTY: LazyLock<Cluster> = LazyLock::new(|| {
    Cluster::with(Setup {
        settings: vec![("synchronous_commit", "off")],
        ..Setup::default()
    })
});

/// Starts control planes of these names on a new database. The first invites the others.
///
/// # Errors
/// One of them does not start.
pub async fn start(names: &[&str]) -> Result<Vec<Plane>> {
    start_on(&shared().database(), names).await
}

/// The same on a database that is not durable.
///
/// # Errors
/// One of them does not start.
pub async fn start_hastily(names: &[&str]) -> Result<Vec<Plane>> {
    start_on(&HASTY.database(), names).await
}

async fn start_on(database: &Database, names: &[&str]) -> Result<Vec<Plane>> {
    let mut planes: Vec<Plane> = Vec::new();
    for name in names {
        let invitation = match planes.first() {
            Some(first) => Some(first.admin.invite(name).await?),
            None => None,
        };
        let settings = Settings {
            tables: tables(database, name),
            invitation,
            ..Settings::default()
        };
        let plane = Plane::with(&settings).await?;
        serves(&plane).await?;
        planes.push(plane);
    }
    Ok(planes)
}

/// Waits until it has an issuing CA: the first one certifies those of the others.
async fn serves(plane: &Plane) -> Result<()> {
    let telemetry = plane.telemetry().await?;
    until(READY_WITHIN, async || {
        ensure!(fetch::is_ready(telemetry).await, "it is not ready");
        Ok(())
    })
    .await
}

/// Handshakes that came to nothing there, by reason, as its metrics say.
///
/// # Errors
/// It does not answer.
pub async fn failed_handshakes(plane: &Plane) -> Result<Vec<(String, f64)>> {
    let (_, metrics) = fetch::get(plane.telemetry().await?, "/metrics").await?;
    let of_reason = |line: &str| {
        let series = line.strip_prefix("countersign_tls_handshake_failures_total{reason=")?;
        let (reason, count) = series.split_once("} ")?;
        Some((reason.to_owned(), count.parse().ok()?))
    };
    Ok(metrics.lines().filter_map(of_reason).collect())
}

fn tables(database: &Database, name: &str) -> String {
    // Nothing leaves the machine.
    let url = database.url().in_clear();
    format!("[store]\nurl = \"{url}\"\n[replica]\nname = \"{name}\"\n")
}
