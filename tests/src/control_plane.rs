//! A control plane as an operator runs it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use countersign_tests_postgres::Database;

use crate::{Command, Process, binaries, fetch, ports};

/// What differs between the meshes of the stories.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `svid.renew_at`.
    pub renew_at: f64,
    /// `svid.x509_ttl`.
    pub x509_ttl: &'static str,
    /// `telemetry.otlp_endpoint`.
    pub otlp_endpoint: Option<String>,
    /// `[ca]` and what is below it, and other sections, as they are written.
    pub ca: String,
    /// With which invitation it joins the control planes of its database.
    pub join: Option<PathBuf>,
    /// What its environment holds beside ours: `NAME=value`.
    pub environment: Vec<String>,
}

impl Settings {
    /// The same, as one of the control planes of a database.
    #[must_use]
    pub fn on(self, database: &Database, replica: &str) -> Self {
        let url = database.url();
        let own = format!("[store]\nurl = \"{url}\"\n[replica]\nname = \"{replica}\"\n");
        Self {
            ca: self.ca + &own,
            ..self
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            renew_at: 0.45,
            x509_ttl: "1h",
            otlp_endpoint: None,
            ca: String::new(),
            join: None,
            environment: Vec::new(),
        }
    }
}

/// A running control plane; its state and configuration outlive a restart.
#[derive(Debug)]
pub struct ControlPlane {
    folder: PathBuf,
    api: SocketAddr,
    telemetry: SocketAddr,
    environment: Vec<String>,
    join: Option<PathBuf>,
    process: Process,
}

impl ControlPlane {
    /// Configures one in `folder`, starts it, and waits until it is ready.
    ///
    /// # Errors
    /// It was not ready within the bound.
    pub async fn start(folder: &Path, settings: &Settings) -> Result<Self> {
        let started = Self::launch(folder, settings)?;
        started.ready().await?;
        Ok(started)
    }

    /// Configures one in `folder` and starts it. It may not be ready yet.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn launch(folder: &Path, settings: &Settings) -> Result<Self> {
        let (api, telemetry) = (ports::reserve(), ports::reserve());
        let Settings {
            renew_at,
            x509_ttl,
            otlp_endpoint,
            ca,
            join,
            environment,
        } = settings;
        let traces = otlp_endpoint.as_ref();
        let traces = traces.map_or_else(String::new, |url| format!("otlp_endpoint = {url:?}\n"));
        let config = format!(
            r#"trust_domain = "example.org"
data_dir = "./data"
[api]
listen = "{api}"
[admin]
socket = "./admin.sock"
[log]
filter = "info,countersign_control_plane::api::mesh=debug"
[telemetry]
listen = "{telemetry}"
{traces}[svid]
x509_ttl = "{x509_ttl}"
renew_at = {renew_at}
{ca}"#
        );
        std::fs::create_dir_all(folder)?;
        std::fs::write(folder.join("control-plane.toml"), config)?;
        Ok(Self {
            folder: folder.to_owned(),
            api,
            telemetry,
            environment: environment.clone(),
            join: join.clone(),
            process: launch(folder, environment, join.as_deref())?,
        })
    }

    /// Starts it again after it ended, and waits until it is ready.
    ///
    /// # Errors
    /// It was not ready within the bound.
    pub async fn start_again(&mut self) -> Result<()> {
        self.keep_issued();
        let join = self.join.as_deref();
        self.process = launch(&self.folder, &self.environment, join)?;
        self.ready().await
    }

    /// The process.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Where sidecars reach it.
    pub fn api(&self) -> SocketAddr {
        self.api
    }

    /// Where it tells about itself.
    pub fn telemetry(&self) -> SocketAddr {
        self.telemetry
    }

    /// The folder of configuration, admin socket and `data`.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The operator's program, at this control plane.
    ///
    /// # Errors
    /// It was not built.
    pub fn operator(&self) -> Result<Command> {
        Ok(Command::operator()?.with_path("--admin-socket", &self.folder.join("admin.sock")))
    }

    /// Waits until it is ready.
    ///
    /// # Errors
    /// It ended, or the bound passed.
    pub async fn ready(&self) -> Result<()> {
        let telemetry = self.telemetry;
        self.process
            .wait_for("ready control plane", async |_| {
                fetch::is_ready(telemetry).await.then_some(())
            })
            .await
            .context("the control plane did not start")
    }
}

impl ControlPlane {
    /// What it issued is judged at the end of `make test`.
    fn keep_issued(&self) {
        countersign_issued::keep(&self.folder.join("data"));
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        self.keep_issued();
    }
}

fn launch(folder: &Path, environment: &[String], join: Option<&Path>) -> Result<Process> {
    let program = binaries::ours("countersign-control-plane")?;
    let program = program.to_string_lossy();
    let mut arguments: Vec<_> = environment.iter().map(String::as_str).collect();
    arguments.extend([&program, "run", "--config", "control-plane.toml"]);
    let join = join.map(Path::to_string_lossy);
    arguments.extend(join.iter().flat_map(|file| ["--join", file]));
    Process::start("control-plane", Path::new("env"), &arguments, folder)
}
