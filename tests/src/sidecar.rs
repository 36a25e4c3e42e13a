//! A sidecar as it runs beside a workload.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::binaries::Programs;
use crate::{Command, Process, fetch, ports};

/// A listener that terminates mTLS.
#[derive(Clone, Debug)]
pub struct Inbound {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where plaintext goes.
    pub forward: SocketAddr,
    /// The identity that it presents.
    pub identity: &'static str,
    /// Whom it admits.
    pub allow: &'static str,
}

/// A loopback listener that originates mTLS.
#[derive(Clone, Debug)]
pub struct Outbound {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The proxy of the service.
    pub connect: SocketAddr,
    /// The identity that it presents.
    pub identity: &'static str,
    /// Whom it expects.
    pub expect: &'static str,
}

/// The listeners of one sidecar.
#[derive(Clone, Debug, Default)]
pub struct Listeners {
    /// `[[inbound]]`.
    pub inbound: Vec<Inbound>,
    /// `[[outbound]]`.
    pub outbound: Vec<Outbound>,
}

/// A running sidecar; its state and configuration outlive a restart.
#[derive(Debug)]
pub struct Sidecar {
    folder: PathBuf,
    telemetry: SocketAddr,
    programs: Programs,
    process: Process,
}

impl Sidecar {
    /// Configures one in `folder`, which holds `token` and `bundle.pem` already, and starts it.
    ///
    /// # Errors
    /// It cannot be started. It may not be ready yet.
    pub fn start(folder: &Path, api: SocketAddr, listeners: &Listeners) -> Result<Self> {
        Self::start_among(folder, &[api], listeners)
    }

    /// As [`Sidecar::start`], with several control planes.
    ///
    /// # Errors
    /// It cannot be started. It may not be ready yet.
    pub fn start_among(folder: &Path, apis: &[SocketAddr], listeners: &Listeners) -> Result<Self> {
        Self::start_as(&Programs::Ours, folder, apis, listeners)
    }

    /// The same, as a program that may be of another version.
    ///
    /// # Errors
    /// It cannot be started. It may not be ready yet.
    pub fn start_as(
        programs: &Programs,
        folder: &Path,
        apis: &[SocketAddr],
        listeners: &Listeners,
    ) -> Result<Self> {
        let telemetry = ports::reserve();
        std::fs::write(
            folder.join("sidecar.toml"),
            configuration(apis, telemetry, listeners),
        )?;
        Ok(Self {
            folder: folder.to_owned(),
            telemetry,
            programs: programs.clone(),
            process: launch(programs, folder)?,
        })
    }

    /// Starts it again after it ended.
    ///
    /// # Errors
    /// It cannot be started. It may not be ready yet.
    pub fn start_again(&mut self) -> Result<()> {
        self.start_again_as(&self.programs.clone())
    }

    /// The same, as a program that may be of another version.
    ///
    /// # Errors
    /// It cannot be started. It may not be ready yet.
    pub fn start_again_as(&mut self, programs: &Programs) -> Result<()> {
        self.programs = programs.clone();
        self.process = launch(programs, &self.folder)?;
        Ok(())
    }

    /// Waits until it holds its identities.
    ///
    /// # Errors
    /// It ended, or the bound passed.
    pub async fn ready(&self) -> Result<()> {
        let telemetry = self.telemetry;
        self.process
            .wait_for("ready sidecar", async |_| {
                fetch::is_ready(telemetry).await.then_some(())
            })
            .await
            .with_context(|| format!("sidecar in {}", self.folder.display()))
    }

    /// Waits until it has been told of, and has written down, so many addresses of control planes.
    ///
    /// # Errors
    /// It ended, or the bound passed.
    pub async fn knows(&self, addresses: u64) -> Result<()> {
        let what = format!("{addresses} addresses that were told");
        let told = self.process.wait_for(&what, async |process| {
            let mut events = process.events().into_iter().rev();
            let kept = events.find(|it| it["message"] == "addresses of control planes kept");
            (kept?["count"] == addresses).then_some(())
        });
        told.await
    }

    /// The process.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Where it tells about itself.
    pub fn telemetry(&self) -> SocketAddr {
        self.telemetry
    }

    /// The folder of its configuration and state.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Workload API and SDS.
    pub fn socket(&self) -> PathBuf {
        self.folder.join("sidecar.sock")
    }

    /// What `countersign-sidecar status` says.
    ///
    /// # Errors
    /// The verb failed.
    pub async fn status(&self) -> Result<Value> {
        Command::new(self.programs.find("countersign-sidecar")?)
            .json(&[
                "status",
                "--config",
                &self.folder.join("sidecar.toml").to_string_lossy(),
            ])
            .await
    }
}

fn launch(programs: &Programs, folder: &Path) -> Result<Process> {
    let program = programs.find("countersign-sidecar")?;
    let arguments = ["run", "--config", "sidecar.toml"];
    Process::start("sidecar", &program, &arguments, folder)
}

fn configuration(apis: &[SocketAddr], telemetry: SocketAddr, listeners: &Listeners) -> String {
    let urls: Vec<_> = apis.iter().map(|api| format!("https://{api}")).collect();
    let addresses = match &urls[..] {
        [one] => format!("address = {one:?}"),
        several => format!("addresses = {several:?}"),
    };
    let mut text = format!(
        r#"trust_domain = "example.org"
state_dir = "./state"
[control_plane]
{addresses}
bundle = "./bundle.pem"
[attestation]
method = "join_token"
token_file = "./token"
[workload_api]
socket = "./sidecar.sock"
[telemetry]
listen = "{telemetry}"
"#
    );
    for Inbound {
        listen,
        forward,
        identity,
        allow,
    } in &listeners.inbound
    {
        let _ = write!(
            text,
            "[[inbound]]\nlisten = \"{listen}\"\nforward = \"{forward}\"\nidentity = \"{identity}\"\nallow = [\"{allow}\"]\n"
        );
    }
    for Outbound {
        listen,
        connect,
        identity,
        expect,
    } in &listeners.outbound
    {
        let _ = write!(
            text,
            "[[outbound]]\nlisten = \"{listen}\"\nconnect = \"{connect}\"\nidentity = \"{identity}\"\nexpect = [\"{expect}\"]\n"
        );
    }
    text
}
