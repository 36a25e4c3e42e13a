//! A real Envoy with a bootstrap of `countersign envoy bootstrap`.

mod bootstrap;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::Value;

use crate::{Process, binaries, fetch, ports, workload};
use bootstrap::{Direction, many_secrets};

pub use bootstrap::{Bootstrap, Dialect};

/// A running Envoy with one port that speaks HTTP and one that forwards bytes.
#[derive(Debug)]
pub struct Envoy {
    process: Process,
    admin: SocketAddr,
    http: SocketAddr,
    tcp: SocketAddr,
    access_log: PathBuf,
}

impl Envoy {
    /// One in front of a service.
    ///
    /// # Errors
    /// It cannot be started. It may not be ready yet.
    pub fn inbound(folder: &Path, bootstrap: &Bootstrap<'_>, service: SocketAddr) -> Result<Self> {
        let upstreams = [service, service];
        Self::start(folder, Direction::Inbound, bootstrap, upstreams)
    }

    /// One beside a client.
    ///
    /// # Errors
    /// It cannot be started. It may not be ready yet.
    pub fn outbound(
        folder: &Path,
        bootstrap: &Bootstrap<'_>,
        http_upstream: SocketAddr,
        tcp_upstream: SocketAddr,
    ) -> Result<Self> {
        let upstreams = [http_upstream, tcp_upstream];
        Self::start(folder, Direction::Outbound, bootstrap, upstreams)
    }

    fn start(
        folder: &Path,
        direction: Direction,
        bootstrap: &Bootstrap<'_>,
        [http_upstream, tcp_upstream]: [SocketAddr; 2],
    ) -> Result<Self> {
        let [admin, http, tcp] = std::array::from_fn(|_| ports::reserve());
        let name = format!("envoy-{}", direction.name());
        let access_log = folder.join(format!("{name}-access.log"));
        let config = folder.join(format!("{name}.json"));
        let ends = [(http, http_upstream), (tcp, tcp_upstream)];
        let written = bootstrap.write(direction, ends, admin, &access_log)?;
        std::fs::write(&config, written.to_string())?;
        Ok(Self {
            process: launch(folder, &name, &config)?,
            admin,
            http,
            tcp,
            access_log,
        })
    }

    /// One with so many secrets, each the certificate of a filter chain, over streams of their own.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn with_secrets(folder: &Path, sds_socket: &Path, names: &[String]) -> Result<Self> {
        let [admin, tls] = std::array::from_fn(|_| ports::reserve());
        let config = folder.join("envoy-many.json");
        std::fs::write(
            &config,
            many_secrets(sds_socket, names, tls, admin).to_string(),
        )?;
        Ok(Self {
            process: launch(folder, "envoy-many", &config)?,
            admin,
            http: tls,
            tcp: tls,
            access_log: folder.join("envoy-many-access.log"),
        })
    }

    /// The process.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// The port that speaks HTTP.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// The port that forwards bytes.
    pub fn tcp(&self) -> SocketAddr {
        self.tcp
    }

    /// Waits until it is live and holds every secret that it subscribed to.
    ///
    /// # Errors
    /// It ended, or the bound passed.
    pub async fn ready(&self) -> Result<()> {
        self.process
            .wait_for("live Envoy with its secrets", async |_| {
                let (status, _) = fetch::get(self.admin, "/ready").await.ok()?;
                (status.is_success() && self.holds_secrets().await.ok()?).then_some(())
            })
            .await
    }

    /// The sum of all statistics whose name ends so.
    ///
    /// # Errors
    /// The admin port does not answer.
    pub async fn statistic(&self, suffix: &str) -> Result<u64> {
        let (_, text) = fetch::get(self.admin, "/stats").await?;
        let values = text.lines().filter_map(|line| line.split_once(": "));
        Ok(values
            .filter(|(name, _)| name.ends_with(suffix))
            .filter_map(|(_, value)| value.parse::<u64>().ok())
            .sum())
    }

    /// Waits until it has taken so many secrets.
    ///
    /// # Errors
    /// It ended, or the bound passed.
    pub async fn takes(&self, secrets: usize) -> Result<()> {
        let path = "/config_dump?resource=dynamic_active_secrets";
        self.process
            .wait_for("its secrets", async |_| {
                let (_, text) = fetch::get(self.admin, path).await.ok()?;
                let dump: Value = serde_json::from_str(&text).ok()?;
                (dump.get("configs")?.as_array()?.len() == secrets).then_some(())
            })
            .await
    }

    /// Serials (hex) that its peers presented, from its access log, in order of appearance.
    pub fn peer_serials(&self) -> Vec<String> {
        let log = std::fs::read_to_string(&self.access_log).unwrap_or_default();
        let serial = |line: &str| {
            let line: Value = serde_json::from_str(line).ok()?;
            Some(workload::serial(line.get("peer_serial")?.as_str()?))
        };
        let mut serials: Vec<_> = log.lines().filter_map(serial).collect();
        serials.dedup();
        serials
    }

    async fn holds_secrets(&self) -> Result<bool> {
        let (_, text) =
            fetch::get(self.admin, "/config_dump?resource=dynamic_warming_secrets").await?;
        let dump: Value = serde_json::from_str(&text)?;
        Ok(dump
            .get("configs")
            .and_then(Value::as_array)
            .is_none_or(Vec::is_empty))
    }
}

fn launch(folder: &Path, name: &str, config: &Path) -> Result<Process> {
    let arguments = [
        "--config-path",
        &config.to_string_lossy(),
        "--use-dynamic-base-id",
        "--concurrency",
        "1",
        "--file-flush-interval-msec",
        "100",
        "--log-level",
        "warning",
    ];
    Process::start(name, &binaries::envoy()?, &arguments, folder)
}
