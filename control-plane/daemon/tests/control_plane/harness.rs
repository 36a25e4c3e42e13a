//! A control plane on free ports, the real command line against it, and nodes that speak to it
//! over real TLS.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use countersign_control_plane::app::{self, Running, StartError};
use countersign_control_plane::clock::Clock;
use countersign_control_plane::config::Config;
use countersign_control_plane::entropy::OsEntropy;
use countersign_model::TrustDomain;
use countersign_proto::KEY_PROOF_EXPORTER;
use countersign_proto::admin as wire;
use countersign_proto::admin::admin_client::AdminClient;
use countersign_verify::tls::{IdentityCell, PeerRule, TrustCell, certified_key, client_config};
use countersign_verify::{BundleSet, TrustBundle};
use hyper_util::rt::TokioIo;
use rcgen::KeyPair;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::net::{TcpStream, UnixStream};
use tokio::process::{Child, ChildStderr, Command};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio_rustls::client::TlsStream;
use tonic::Status;
use tonic::transport::{Channel, Endpoint, Uri};

pub(crate) use crate::session::{Node, Session, hello, key_proof};

/// Anything that a test waits for happens in this time.
pub(crate) const BOUND: Duration = Duration::from_secs(20);
/// How often a condition that nothing announces is looked at.
const POLL: Duration = Duration::from_millis(20);
pub(crate) const NODE_A: &str = "spiffe://example.org/node/a";
pub(crate) const NODE_B: &str = "spiffe://example.org/node/b";
pub(crate) const WEB: &str = "spiffe://example.org/web";

pub(crate) struct Plane {
    folder: tempfile::TempDir,
    /// What its configuration says beside addresses and trust domain.
    settings: String,
    data_dir: PathBuf,
    /// How many seconds its clock is ahead of ours.
    ahead: Arc<AtomicI64>,
    running: Option<Running>,
}

impl Plane {
    pub(crate) async fn start() -> Self {
        Self::with("").await
    }

    /// With more settings: TOML sections.
    pub(crate) async fn with(settings: &str) -> Self {
        let mut plane = Self {
            folder: tempfile::tempdir().unwrap(),
            settings: settings.to_owned(),
            data_dir: "./cp".into(),
            ahead: Arc::default(),
            running: None,
        };
        plane.restart().await;
        plane
    }

    /// With a clock that is ahead of ours from its first start on.
    pub(crate) async fn ahead_by(secs: i64) -> Self {
        let mut plane = Self {
            folder: tempfile::tempdir().unwrap(),
            settings: String::new(),
            data_dir: "./cp".into(),
            ahead: Arc::new(secs.into()),
            running: None,
        };
        plane.restart().await;
        plane
    }

    /// With its state elsewhere than beside its configuration.
    pub(crate) async fn in_dir(data_dir: &Path) -> Self {
        let mut plane = Self {
            folder: tempfile::tempdir().unwrap(),
            settings: String::new(),
            data_dir: data_dir.to_owned(),
            ahead: Arc::default(),
            running: None,
        };
        plane.restart().await;
        plane
    }

    /// Has other settings from its next start on.
    pub(crate) fn set(&mut self, settings: &str) {
        settings.clone_into(&mut self.settings);
    }

    /// Moves its clock on.
    pub(crate) fn advance(&self, secs: i64) {
        self.ahead.fetch_add(secs, Ordering::Relaxed);
    }

    fn clock(&self) -> Clock {
        let (wall, ahead) = (Clock::wall(), self.ahead.clone());
        Clock::from_fn(move || {
            let ahead = jiff::SignedDuration::from_secs(ahead.load(Ordering::Relaxed));
            wall.now() + ahead
        })
    }

    pub(crate) async fn restart(&mut self) {
        self.stop().await;
        self.keep_issued();
        let file = self.folder.path().join("control-plane.toml");
        let Self {
            settings, data_dir, ..
        } = &*self;
        let text = format!(
            "trust_domain = \"example.org\"\ndata_dir = {data_dir:?}\n[api]\nlisten = \"127.0.0.1:0\"\n\
             [telemetry]\nlisten = \"127.0.0.1:0\"\n{settings}"
        );
        std::fs::write(&file, text).unwrap();
        let config = Config::read(&file).unwrap();
        // What was cut at the end of the drain lets go of the directory when it is next scheduled.
        let start = async {
            loop {
                match app::start(&config, self.clock(), Arc::new(OsEntropy)).await {
                    Err(StartError::Authority(error)) if error.to_string().contains("in use") => {
                        tokio::time::sleep(POLL).await;
                    }
                    started => return started.unwrap(),
                }
            }
        };
        let started = tokio::time::timeout(BOUND, start).await;
        self.running = Some(started.expect("the directory is free in time"));
    }

    pub(crate) async fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            running.drain().await;
            // A connection to the database that ends late would remove files by their names, which
            // may be those of the next one then.
            let data_dir = self.folder.path().join(&self.data_dir);
            until(async || !is_held(&data_dir)).await;
        }
    }

    /// What it issued is judged at the end of `make test`.
    fn keep_issued(&self) {
        countersign_issued::keep(&self.folder.path().join(&self.data_dir));
    }

    pub(crate) fn running(&self) -> &Running {
        self.running.as_ref().unwrap()
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join(&self.data_dir).join("admin.sock")
    }

    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = Command::new(countersign());
        command.arg("--admin-socket").arg(self.socket());
        command.args(line.split_whitespace()).kill_on_drop(true);
        command
    }

    /// Runs the operator's command line.
    pub(crate) async fn cli(&self, line: &str) -> Output {
        let output = tokio::time::timeout(BOUND, self.command(line).output());
        output.await.expect("the command line answers").unwrap()
    }

    /// Starts a verb that tells its progress line by line.
    pub(crate) fn follow(&self, line: &str) -> Progress {
        let mut command = self.command(line);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        Progress { child, lines }
    }

    /// Runs a verb that must succeed and reads its JSON.
    pub(crate) async fn ask(&self, line: &str) -> serde_json::Value {
        let output = self.cli(&format!("{line} --json")).await;
        assert!(output.status.success(), "{line}: {output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The admin API without the command line.
    pub(crate) async fn admin(&self) -> AdminClient<Channel> {
        let socket = self.socket();
        let dial = tower::service_fn(move |_: Uri| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        });
        let endpoint = Endpoint::from_static("http://admin.invalid");
        AdminClient::new(endpoint.connect_with_connector(dial).await.unwrap())
    }

    pub(crate) async fn token(&self, node: &str) -> String {
        let output = self.cli(&format!("token create --node {node}")).await;
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        text.strip_suffix('\n').expect("one line feed").to_owned()
    }

    pub(crate) async fn register(&self, id: &str, node: &str) -> serde_json::Value {
        let what = format!("register --id {id} --node {node} --selector unix:uid:1000 --owner me");
        self.ask(&what).await
    }

    pub(crate) async fn bundle(&self) -> TrustBundle {
        let output = self.cli("bundle show").await;
        TrustBundle::from_pem(TrustDomain::new("example.org").unwrap(), &output.stdout).unwrap()
    }

    /// A TLS session, with or without a client certificate.
    pub(crate) async fn dial(&self, identity: Option<(&[Vec<u8>], &KeyPair)>) -> Session {
        let address = self.running().api_address();
        let bundle = Arc::new(self.bundle().await);
        dial(address, &bundle, identity).await.unwrap()
    }

    /// Attests a node by a fresh token.
    pub(crate) async fn node(&self, id: &str) -> Node {
        let token = self.token(id).await;
        let key = KeyPair::generate().unwrap();
        let session = self.dial(None).await;
        let answer = session.attest(&token, &key, "node").await.unwrap();
        assert_eq!(answer.node_id, id);
        Node {
            chain: answer.chain,
            key,
        }
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        let runtime = Handle::current();
        let can_wait = runtime.runtime_flavor() == RuntimeFlavor::MultiThread;
        if can_wait && !std::thread::panicking() {
            // What still ran would make its folder anew after it was removed.
            tokio::task::block_in_place(|| runtime.block_on(self.stop()));
        }
        self.keep_issued();
    }
}

/// What the control plane tells of itself, without its nodes.
pub(crate) async fn status_of(
    admin: &AdminClient<Channel>,
) -> Result<wire::StatusResponse, Status> {
    let answer = admin.clone().status(wire::StatusRequest::default()).await?;
    let first = answer.into_inner().message().await?;
    first.ok_or_else(|| Status::internal("an answer has a first message"))
}

/// Every registration.
pub(crate) async fn listed(
    admin: &AdminClient<Channel>,
) -> Result<Vec<wire::Registration>, Status> {
    let answer = admin.clone().list(wire::ListRequest::default()).await?;
    let (mut pages, mut items) = (answer.into_inner(), Vec::new());
    while let Some(page) = pages.message().await? {
        items.extend(page.items);
    }
    Ok(items)
}

/// A TLS connection to the control plane at an address, with or without a client certificate.
pub(crate) async fn connect(
    address: SocketAddr,
    bundle: &Arc<TrustBundle>,
    identity: Option<(&[Vec<u8>], &KeyPair)>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let trust: BundleSet = [Arc::clone(bundle)].into_iter().collect();
    let identity = identity.map(|(chain, key)| {
        let cell = IdentityCell::empty();
        let chain = chain.iter().cloned().map(CertificateDer::from).collect();
        cell.install(certified_key(chain, &key.serialize_der()).unwrap());
        cell
    });
    let rule = PeerRule::OneOf([TrustDomain::new("example.org").unwrap().control_plane()].into());
    let config = client_config(identity, TrustCell::new(trust), rule, &[b"h2"]);
    let tcp = TcpStream::connect(address).await?;
    tcp.set_nodelay(true)?;
    let name = ServerName::try_from("control-plane").unwrap();
    let tls = tokio_rustls::TlsConnector::from(config);
    tls.connect(name, tcp).await
}

/// A session over such a connection.
pub(crate) async fn dial(
    address: SocketAddr,
    bundle: &Arc<TrustBundle>,
    identity: Option<(&[Vec<u8>], &KeyPair)>,
) -> std::io::Result<Session> {
    let tls = connect(address, bundle, identity).await?;
    let exporter = [0; 32];
    let exporter = tls
        .get_ref()
        .1
        .export_keying_material(exporter, KEY_PROOF_EXPORTER, Some(&[]))
        .unwrap();
    let mut tls = Some(TokioIo::new(tls));
    let connector = tower::service_fn(move |_: Uri| {
        let tls = tls
            .take()
            .ok_or_else(|| std::io::Error::other("one connection"));
        std::future::ready(tls)
    });
    let channel = Endpoint::from_static("http://control-plane.invalid")
        .connect_with_connector(connector)
        .await
        .map_err(std::io::Error::other)?;
    Ok(Session { channel, exporter })
}

/// Whether this process has a file of a directory open.
fn is_held(directory: &Path) -> bool {
    let Ok(directory) = directory.canonicalize() else {
        return false;
    };
    let open = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let mut files = open.filter_map(|it| it.path().read_link().ok());
    files.any(|file| file.starts_with(&directory))
}

/// The operator's command line, a program of another package.
pub(crate) fn countersign() -> &'static Path {
    static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| {
        let found = countersign_programs::find("countersign");
        found.unwrap_or_else(|missing| panic!("{missing}"))
    });
    &PROGRAM
}

/// Copies a program so that another user can start it. Another process writes it: a child that a
/// test beside us starts meanwhile would keep our descriptor open, and the program busy.
pub(crate) fn copy_program(from: impl AsRef<Path>, to: &Path) {
    let copied = std::process::Command::new("cp")
        .arg(from.as_ref())
        .arg(to)
        .status();
    assert!(copied.unwrap().success());
}

/// A verb under way.
pub(crate) struct Progress {
    child: Child,
    lines: Lines<BufReader<ChildStderr>>,
}

impl Progress {
    /// The next line; `None` once the verb has ended well.
    pub(crate) async fn line(&mut self) -> Option<String> {
        let line = tokio::time::timeout(BOUND, self.lines.next_line()).await;
        let line = line.expect("it says something in time").unwrap();
        if line.is_none() {
            assert!(self.child.wait().await.unwrap().success());
        }
        line
    }

    /// The lines up to the first that contains this.
    pub(crate) async fn until(&mut self, what: &str) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            lines.push(self.line().await.expect(what));
            if lines.last().is_some_and(|line| line.contains(what)) {
                return lines;
            }
        }
    }

    /// The lines that are left.
    pub(crate) async fn rest(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(line) = self.line().await {
            lines.push(line);
        }
        lines
    }
}

/// Waits until something holds, and fails when it does not in time.
pub(crate) async fn until(mut holds: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(POLL).await;
        }
    };
    tokio::time::timeout(BOUND, wait)
        .await
        .expect("it holds in time");
}
