//! A machine with a real control plane and a real sidecar that has joined it.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};
use countersign_tests::{Process, fetch};
use tempfile::TempDir;

use crate::issuance::TRUST_DOMAIN;
use crate::issuance::plane::{Plane, until};
use crate::log::address_of;
use crate::programs::Program;

/// The sidecar holds its identities in this time.
const READY_DEADLINE: Duration = Duration::from_secs(60);
const NAME: &str = "sidecar";

/// A control plane, and the sidecar of node 0.
#[derive(Debug)]
pub struct Machine {
    /// Ends before its folder goes.
    sidecar: Process,
    folder: TempDir,
    /// What the sidecar joined.
    pub plane: Plane,
}

impl Machine {
    /// Registers these identities on node 0, each for a user, and starts its sidecar with these
    /// listeners (tables of its configuration).
    ///
    /// # Errors
    /// One of the two does not start.
    pub async fn start(identities: &[(String, u32)], listeners: &str) -> Result<Self> {
        let plane = Plane::start(None).await?;
        plane.admin.register_for_users(identities).await?;
        let folder = tempfile::Builder::new().prefix("countersign-").tempdir()?;
        // Other users walk through it to the sidecar's socket.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        let token = plane.admin.tokens(std::iter::once(0)).await?.concat();
        write_owned(&folder.path().join("token"), &token)?;
        fs::write(
            folder.path().join("bundle.pem"),
            plane.admin.bundle().await?,
        )?;
        let config = folder.path().join("sidecar.toml");
        fs::write(&config, configuration(plane.address, listeners))?;
        let program = Program::Sidecar.path()?;
        let arguments = ["run", "--config", "sidecar.toml"];
        let sidecar = Process::start(NAME, &program, &arguments, folder.path())?;
        let machine = Self {
            sidecar,
            folder,
            plane,
        };
        machine.ready().await?;
        Ok(machine)
    }

    /// The process of the sidecar.
    pub fn pid(&self) -> u32 {
        self.sidecar.pid().as_raw_nonzero().get().unsigned_abs()
    }

    /// Where the sidecar's log lines go.
    pub fn log(&self) -> PathBuf {
        self.folder.path().join(format!("{NAME}.log"))
    }

    /// The socket of Workload API and SDS.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("sidecar.sock")
    }

    /// A folder that every user can walk through.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where a listener of the sidecar is, such as `inbound[0]`.
    ///
    /// # Errors
    /// There is no such listener.
    pub fn listener(&self, name: &str) -> Result<SocketAddr> {
        address_of(&self.log(), name)
    }

    async fn ready(&self) -> Result<()> {
        until(READY_DEADLINE, async || {
            let telemetry = self.listener("telemetry")?;
            ensure!(fetch::is_ready(telemetry).await, "the sidecar is not ready");
            Ok(())
        })
        .await
    }
}

/// An inbound listener in front of a workload, open to peers of the same identity.
pub fn inbound(forward: SocketAddr, id: &str, attest_callers: &str) -> String {
    format!(
        "[[inbound]]\nlisten = \"127.0.0.1:0\"\nforward = \"{forward}\"\nidentity = \"{id}\"\n\
         allow = [\"{id}\"]\nattest_callers = \"{attest_callers}\"\n"
    )
}

/// The same way out.
pub fn outbound(connect: SocketAddr, id: &str, attest_callers: &str) -> String {
    format!(
        "[[outbound]]\nlisten = \"127.0.0.1:0\"\nconnect = \"{connect}\"\nidentity = \"{id}\"\n\
         expect = [\"{id}\"]\nattest_callers = \"{attest_callers}\"\n"
    )
}

fn write_owned(path: &Path, text: &str) -> Result<()> {
    fs::write(path, "")?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(fs::write(path, text)?)
}

fn configuration(api: SocketAddr, listeners: &str) -> String {
    let mut text = format!(
        r#"trust_domain = "{TRUST_DOMAIN}"
state_dir = "./state"
[control_plane]
address = "https://{api}"
bundle = "./bundle.pem"
[attestation]
method = "join_token"
token_file = "./token"
[workload_api]
socket = "./sidecar.sock"
[telemetry]
listen = "127.0.0.1:0"
"#
    );
    let _ = write!(text, "{listeners}");
    text
}
