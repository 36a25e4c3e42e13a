//! A folder with control planes, and sidecars that join them.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Result;
use serde_json::Value;
use tempfile::TempDir;

use crate::binaries::Programs;
use crate::control_plane::Settings;
use crate::sidecar::Listeners;
use crate::{Command, ControlPlane, Sidecar};

/// What an operator registers.
#[derive(Clone, Debug)]
pub struct Registration {
    /// The identity.
    pub id: String,
    /// The last path segment of the node's ID.
    pub node: &'static str,
    /// The selectors, all of which a caller must show.
    pub selectors: Vec<String>,
    /// The lifetime of its certificates.
    pub x509_ttl: &'static str,
}

impl Registration {
    /// An identity for every process of our own uid on a node, for an hour.
    pub fn new(id: impl Into<String>, node: &'static str) -> Self {
        let uid = rustix::process::geteuid().as_raw();
        Self {
            id: id.into(),
            node,
            selectors: vec![format!("unix:uid:{uid}")],
            x509_ttl: "1h",
        }
    }

    /// With certificates that live so long.
    #[must_use]
    pub fn for_ttl(self, x509_ttl: &'static str) -> Self {
        Self { x509_ttl, ..self }
    }

    /// For processes of another uid.
    #[must_use]
    pub fn for_uid(self, uid: u32) -> Self {
        let selectors = vec![format!("unix:uid:{uid}")];
        Self { selectors, ..self }
    }
}

/// The ID of a node.
pub fn node_id(node: &str) -> String {
    format!("spiffe://example.org/node/{node}")
}

/// A control plane, or several of one database, in a folder that is removed at the end.
#[derive(Debug)]
pub struct Mesh {
    // Dropped first: their processes end before their folder goes.
    control_plane: ControlPlane,
    replicas: Vec<ControlPlane>,
    /// Whose programs its sidecars start as.
    programs: Programs,
    /// Whether its sidecars are told where the others are, and so know the first alone.
    advertises: bool,
    folder: TempDir,
}

impl Mesh {
    /// Starts a control plane.
    ///
    /// # Errors
    /// It was not ready within the bound.
    pub async fn start(settings: &Settings) -> Result<Self> {
        let mesh = Self::launch(settings)?;
        mesh.control_plane.ready().await?;
        Ok(mesh)
    }

    /// Starts a control plane, which may not be ready yet.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn launch(settings: &Settings) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("countersign-").tempdir()?;
        // Workloads of any uid walk through it to a sidecar's socket.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))?;
        let control_plane = ControlPlane::launch(&folder.path().join("cp"), settings)?;
        Ok(Self {
            control_plane,
            replicas: Vec::new(),
            programs: settings.programs.clone(),
            advertises: settings.advertises,
            folder,
        })
    }

    /// The first control plane.
    pub fn control_plane(&self) -> &ControlPlane {
        &self.control_plane
    }

    /// The first control plane, to start it again.
    pub fn control_plane_mut(&mut self) -> &mut ControlPlane {
        &mut self.control_plane
    }

    /// All control planes, in the order in which they joined.
    pub fn control_planes(&self) -> Vec<&ControlPlane> {
        let first = std::iter::once(&self.control_plane);
        first.chain(&self.replicas).collect()
    }

    /// One of them, to start it again.
    pub fn control_plane_at_mut(&mut self, place: usize) -> &mut ControlPlane {
        match place.checked_sub(1) {
            None => &mut self.control_plane,
            Some(place) => &mut self.replicas[place],
        }
    }

    /// Where sidecars reach all of them.
    pub fn apis(&self) -> Vec<SocketAddr> {
        let all = self.control_planes();
        all.iter().map(|plane| plane.api()).collect()
    }

    /// The operator's program.
    ///
    /// # Errors
    /// It was not built.
    pub fn operator(&self) -> Result<Command> {
        self.control_plane.operator()
    }

    /// The folder of everything.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Makes a node's folder with its join token and the bundle that it starts from.
    ///
    /// # Errors
    /// The operator's program refused.
    pub async fn invite(&self, node: &str) -> Result<std::path::PathBuf> {
        let folder = self.folder().join(node);
        std::fs::create_dir_all(&folder)?;
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755))?;
        let operator = self.operator()?;
        let token = folder.join("token").display().to_string();
        let create = [
            "token",
            "create",
            "--node",
            &node_id(node),
            "--replace",
            "--out",
            &token,
        ];
        operator.text(&create).await?;
        let show = ["bundle", "show", "--format", "pem"];
        std::fs::write(folder.join("bundle.pem"), operator.text(&show).await?)?;
        Ok(folder)
    }

    /// Invites a node and starts its sidecar, which may not be ready yet.
    ///
    /// # Errors
    /// The operator's program refused, or the sidecar cannot be started.
    pub async fn sidecar(&self, node: &str, listeners: &Listeners) -> Result<Sidecar> {
        let folder = self.invite(node).await?;
        let known = match self.advertises {
            true => vec![self.control_plane.api()],
            false => self.apis(),
        };
        Sidecar::start_as(&self.programs, &folder, &known, listeners)
    }

    /// Invites a control plane to the database of the first one, and starts it beside.
    ///
    /// # Errors
    /// It was not ready within the bound.
    pub async fn join(&mut self, name: &str, settings: Settings) -> Result<()> {
        let invitation = self.folder().join(format!("{name}.invitation"));
        let out = invitation.display().to_string();
        let invite = ["replica", "invite", "--name", name, "--out", &out];
        self.operator()?.text(&invite).await?;
        let settings = Settings {
            join: Some(invitation),
            ..settings
        };
        let folder = self.folder().join(format!("replica-{name}"));
        let joined = ControlPlane::start(&folder, &settings).await?;
        self.replicas.push(joined);
        Ok(())
    }

    /// Registers an identity.
    ///
    /// # Errors
    /// The operator's program refused.
    pub async fn register(&self, registration: &Registration) -> Result<Value> {
        let node = node_id(registration.node);
        let mut arguments = vec!["register", "--id", &registration.id, "--node", &node];
        for selector in &registration.selectors {
            arguments.extend(["--selector", selector]);
        }
        arguments.extend(["--owner", "team-test", "--x509-ttl", registration.x509_ttl]);
        self.operator()?.json(&arguments).await
    }
}
