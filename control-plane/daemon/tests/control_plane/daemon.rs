//! The control plane as a process of its own, that can be killed and started again.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use countersign_model::TrustDomain;
use countersign_proto::admin as wire;
use countersign_proto::admin::admin_client::AdminClient;
use countersign_verify::TrustBundle;
use hyper_util::rt::TokioIo;
use rustls_pki_types::CertificateDer;
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tonic::transport::{Channel, Endpoint, Uri};

use crate::harness::{BOUND, status_of, until};

/// A control plane in a folder that outlives its processes.
pub(crate) struct Daemon {
    folder: PathBuf,
    data_dir: PathBuf,
    /// Descriptors that the process may have.
    descriptors: Option<usize>,
    /// The invitation that it is started with.
    invitation: Option<PathBuf>,
    child: Option<Child>,
}

/// What it issued is judged at the end of `make test`.
impl Drop for Daemon {
    fn drop(&mut self) {
        countersign_issued::keep(&self.data_dir);
    }
}

impl Daemon {
    /// Configures one; starts nothing. `settings` are more TOML sections.
    pub(crate) fn configure(folder: &Path, data_dir: &Path, settings: &str) -> Self {
        let text = format!(
            "trust_domain = \"example.org\"\ndata_dir = {data_dir:?}\n[api]\nlisten = \"127.0.0.1:0\"\n\
             [admin]\nsocket = \"./admin/admin.sock\"\n[telemetry]\nlisten = \"127.0.0.1:0\"\n\
             {settings}"
        );
        std::fs::write(folder.join("control-plane.toml"), text).unwrap();
        Self {
            folder: folder.to_owned(),
            data_dir: folder.join(data_dir),
            descriptors: None,
            invitation: None,
            child: None,
        }
    }

    /// Lowers the limit of its next process.
    pub(crate) fn limit_descriptors(&mut self, limit: usize) {
        self.descriptors = Some(limit);
    }

    /// Has its next processes join with an invitation.
    pub(crate) fn join_with(&mut self, invitation: &Path) {
        self.invitation = Some(invitation.to_owned());
    }

    /// A new connection of an operator, if somebody answers.
    pub(crate) async fn operator(&self) -> Option<Operator> {
        Operator::reach(&self.socket()).await
    }

    /// Starts the process, and does not wait for it.
    pub(crate) fn spawn(&mut self) {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.join("log"))
            .unwrap();
        let program = env!("CARGO_BIN_EXE_countersign-control-plane");
        let mut command = match self.descriptors {
            None => Command::new(program),
            Some(limit) => {
                let mut limited = Command::new("prlimit");
                limited
                    .arg(format!("--nofile={limit}:{limit}"))
                    .arg(program);
                limited
            }
        };
        command.args(["run", "--config", "control-plane.toml"]);
        if let Some(invitation) = &self.invitation {
            command.arg("--join").arg(invitation);
        }
        let child = command
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn();
        self.child = Some(child.unwrap());
    }

    /// Starts the process and waits until it answers.
    pub(crate) async fn start(&mut self) -> Operator {
        self.spawn();
        let mut operator = None;
        until(async || {
            if let Ok(Some(status)) = self.child.as_mut().expect("it was started").try_wait() {
                panic!("ended with {status}\n{}", self.log());
            }
            operator = Operator::reach(&self.socket()).await;
            operator.is_some()
        })
        .await;
        operator.expect("it answers")
    }

    /// Starts the process, which must end by itself; what it printed last.
    pub(crate) async fn refused(&mut self) -> String {
        let before = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        self.spawn();
        let child = self.child.as_mut().expect("it was started");
        let ended = tokio::time::timeout(BOUND, child.wait()).await;
        let status = ended.expect("it ends in time").unwrap();
        let told = self.log().split_off(before.len());
        assert!(!status.success(), "{told}");
        self.child = None;
        told
    }

    /// As `kill -9`, and returns once it is gone.
    pub(crate) async fn kill(&mut self) {
        let mut child = self.child.take().expect("it was started");
        child.kill().await.unwrap();
    }

    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        let child = self.child.as_ref().expect("it was started");
        child.id().expect("it was not waited for")
    }

    /// What it printed.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.join("admin/admin.sock")
    }
}

/// The operator's side of the admin socket, without a process for each verb.
#[derive(Clone)]
pub(crate) struct Operator {
    pub(crate) admin: AdminClient<Channel>,
    /// Where sidecars reach the control plane.
    pub(crate) api: SocketAddr,
    pub(crate) bundle: Arc<TrustBundle>,
}

impl Operator {
    /// `None` where nobody answers.
    async fn reach(socket: &Path) -> Option<Self> {
        let socket = socket.to_owned();
        let dial = tower::service_fn(move |_: Uri| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        });
        let channel = Endpoint::from_static("http://countersign.invalid")
            .connect_with_connector(dial)
            .await
            .ok()?;
        let mut admin = AdminClient::new(channel);
        let api = status_of(&admin).await.ok()?.api_address.parse().unwrap();
        let shown = admin.show_bundle(wire::ShowBundleRequest {}).await.ok()?;
        let roots = shown.into_inner().roots;
        let roots = roots.into_iter().map(CertificateDer::from).collect();
        let domain = TrustDomain::new("example.org").unwrap();
        Some(Self {
            admin,
            api,
            bundle: Arc::new(TrustBundle::new(domain, roots).unwrap()),
        })
    }
}
