//! A control plane as an operator runs it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use countersign_tests_postgres::{Database, Url};
use http::StatusCode;

use crate::binaries::Programs;
use crate::host::Network;
use crate::{Command, Host, Process, fetch, ports};

const DATA_DIR: &str = "data";

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
    /// Where it runs; none is that of the test.
    pub host: Option<Arc<Host>>,
    /// Whose program it is.
    pub programs: Programs,
    /// `api.advertise`: whether it tells where it is, so that a sidecar need know one of several.
    pub advertises: bool,
}

impl Settings {
    /// The same, as one of the control planes of a database.
    #[must_use]
    pub fn on(self, database: &Database, replica: &str) -> Self {
        self.at(&database.url(), replica)
    }

    /// The same, where the database is reached by another URL than others use.
    #[must_use]
    pub fn at(self, url: &Url, replica: &str) -> Self {
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
            host: None,
            programs: Programs::default(),
            advertises: false,
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
    programs: Programs,
    // Dropped before its host.
    process: Process,
    host: Option<Arc<Host>>,
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
        let (mut api, telemetry) = (ports::reserve(), ports::reserve());
        let Settings {
            renew_at,
            x509_ttl,
            otlp_endpoint,
            ca,
            join,
            environment,
            host,
            programs,
            advertises,
        } = settings;
        if let Some(host) = host {
            api.set_ip(host.address(Network::Sidecars));
            host.mount_disk(&folder.join(DATA_DIR))?;
        }
        let advertise = match advertises {
            true => format!("advertise = \"https://{api}\"\n"),
            false => String::new(),
        };
        let traces = otlp_endpoint.as_ref();
        let traces = traces.map_or_else(String::new, |url| format!("otlp_endpoint = {url:?}\n"));
        let config = format!(
            r#"trust_domain = "example.org"
data_dir = "./{DATA_DIR}"
[api]
listen = "{api}"
{advertise}[admin]
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
            programs: programs.clone(),
            process: launch(
                (folder, host.as_deref()),
                environment,
                join.as_deref(),
                programs,
            )?,
            host: host.clone(),
        })
    }

    /// Starts it again after it ended, and waits until it is ready.
    ///
    /// # Errors
    /// It was not ready within the bound.
    pub async fn start_again(&mut self) -> Result<()> {
        self.launch_again(&self.programs.clone())?;
        self.ready().await
    }

    /// Starts it again after it ended, as a program that may be of another version. It may not be ready yet.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn launch_again(&mut self, programs: &Programs) -> Result<()> {
        self.keep_issued();
        self.programs = programs.clone();
        let place = (self.folder.as_path(), self.host.as_deref());
        let join = self.join.as_deref();
        self.process = launch(place, &self.environment, join, programs)?;
        Ok(())
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

    /// Its state, as who looks from outside sees it: the disk of its host may be one of its own.
    pub fn data_dir(&self) -> PathBuf {
        let data_dir = self.folder.join(DATA_DIR);
        let host = self.host.as_deref();
        host.map_or_else(|| data_dir.clone(), |host| host.file(&data_dir))
    }

    /// Fills the disk that its host has for its `data_dir`, to the last block.
    ///
    /// # Errors
    /// There is no such disk.
    pub fn fill_disk(&self) -> Result<()> {
        let host = self.host().context("it has no host of its own")?;
        host.fill_disk(&self.folder.join(DATA_DIR))
    }

    /// Gives the space back.
    ///
    /// # Errors
    /// It was not filled.
    pub fn free_disk(&self) -> Result<()> {
        let host = self.host().context("it has no host of its own")?;
        host.free_disk(&self.folder.join(DATA_DIR))
    }

    /// The operator's program, at this control plane.
    ///
    /// # Errors
    /// It was not built.
    pub fn operator(&self) -> Result<Command> {
        self.operator_of(&Programs::Ours)
    }

    /// The same of any version.
    ///
    /// # Errors
    /// It was not built.
    pub fn operator_of(&self, programs: &Programs) -> Result<Command> {
        let operator = Command::new(programs.find("countersign")?);
        Ok(operator.with_path("--admin-socket", &self.folder.join("admin.sock")))
    }

    /// Where it runs, if that is a host of its own.
    pub fn host(&self) -> Option<&Host> {
        self.host.as_deref()
    }

    /// Gets a path of what it tells about itself.
    ///
    /// # Errors
    /// No connection, or no HTTP.
    pub async fn get(&self, path: &str) -> Result<(StatusCode, String)> {
        match &self.host {
            None => fetch::get(self.telemetry, path).await,
            Some(host) => host.get(self.telemetry.port(), path).await,
        }
    }

    /// Waits until it is ready.
    ///
    /// # Errors
    /// It ended, or the bound passed.
    pub async fn ready(&self) -> Result<()> {
        self.process
            .wait_for("ready control plane", async |_| {
                let (status, _) = self.get("/readyz").await.ok()?;
                (status == StatusCode::OK).then_some(())
            })
            .await
            .context("the control plane did not start")
    }
}

impl ControlPlane {
    /// What it issued is judged at the end of `make test`.
    fn keep_issued(&self) {
        countersign_issued::keep(&self.data_dir());
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        self.keep_issued();
    }
}

fn launch(
    (folder, host): (&Path, Option<&Host>),
    environment: &[String],
    join: Option<&Path>,
    programs: &Programs,
) -> Result<Process> {
    let program = programs.find("countersign-control-plane")?;
    let program = program.to_string_lossy();
    let enter = host.map_or_else(Vec::new, |host| host.enter(folder));
    let before = enter.iter().chain(environment);
    let mut arguments: Vec<_> = before.map(String::as_str).collect();
    arguments.extend([&program, "run", "--config", "control-plane.toml"]);
    let join = join.map(Path::to_string_lossy);
    arguments.extend(join.iter().flat_map(|file| ["--join", file]));
    Process::start("control-plane", Path::new("env"), &arguments, folder)
}
