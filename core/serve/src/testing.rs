//! What the hostile tests share: certificates, clients, bounds, and a test run again as a child.

mod pki;

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, getrlimit, setrlimit};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub(crate) use pki::{CLIENT, Pki};

/// Nothing in these tests takes this long.
const BOUND: Duration = Duration::from_secs(20);

/// Waits, with a bound.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    let waiting = tokio::time::timeout(BOUND, Box::pin(future));
    waiting.await.expect("within the bound")
}

/// Waits until the other end has closed the connection.
pub(crate) async fn closed(stream: &mut (impl AsyncRead + Unpin)) {
    let mut rest = Vec::new();
    // Closed or reset: both end it.
    let _ = soon(stream.read_to_end(&mut rest)).await;
}

/// Waits until a condition holds.
pub(crate) async fn eventually(condition: impl Fn() -> bool) {
    soon(async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

/// A server and a client that trusts it.
pub(crate) fn tls() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let mut server = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    server.send_tls13_tickets = 0;
    let client = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server), Arc::new(client))
}

/// A finished handshake with a server on this port.
pub(crate) async fn dial(
    port: u16,
    client: &Arc<ClientConfig>,
) -> std::io::Result<TlsStream<TcpStream>> {
    dial_from(Ipv4Addr::LOCALHOST, port, client).await
}

/// As [`dial`], from this address of the loopback network.
pub(crate) async fn dial_from(
    source: Ipv4Addr,
    port: u16,
    client: &Arc<ClientConfig>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = connect_from(source, port).await?;
    let name = "localhost".try_into().expect("a host name");
    let connecting = TlsConnector::from(Arc::clone(client)).connect(name, stream);
    soon(connecting).await
}

/// A connection from this address of the loopback network.
pub(crate) async fn connect_from(source: Ipv4Addr, port: u16) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((source, 0).into())?;
    soon(socket.connect((Ipv4Addr::LOCALHOST, port).into())).await
}

/// Whether this process is the child that [`run_as_child`] started.
pub(crate) fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// Runs one test again in a process of its own, where it may change what is process-wide.
pub(crate) fn run_as_child(test: &str) {
    run_prepared(test, |_| {});
}

/// As [`run_as_child`], never as root, who may read everything.
pub(crate) fn run_as_unprivileged_child(test: &str) {
    run_prepared(test, |command| {
        if rustix::process::geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY).current_dir("/");
        }
    });
}

/// As [`run_as_child`], in a namespace of its own (`--net`, `--mount`) that a shell prepares.
/// Needs root.
pub(crate) fn run_as_child_in(namespace: &str, prepare: &str, test: &str) {
    let mut command = Command::new("unshare");
    let run = format!("{prepare}\nexec \"$0\" \"$@\"");
    command.args([namespace, "sh", "-ec", &run]);
    command.arg(std::env::current_exe().unwrap());
    run_test(test, &mut command);
}

fn run_prepared(test: &str, prepare: impl FnOnce(&mut Command)) {
    // By its link in /proc: the folder of the binary may be closed to another user.
    let mut command = Command::new("/proc/self/exe");
    prepare(&mut command);
    run_test(test, &mut command);
}

fn run_test(test: &str, command: &mut Command) {
    command.args(["--exact", test, "--nocapture"]);
    command.env(CHILD, "1");
    let output = command.output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stdout}\n{stderr}");
    assert!(stdout.contains("1 passed"), "no such test: {test}");
}

/// Takes every descriptor that the process may still open, with a lowered limit.
pub(crate) fn exhaust_descriptors() -> Vec<File> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = Some(FEW_DESCRIPTORS);
    setrlimit(Resource::Nofile, limit).unwrap();
    let taken: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    assert!(!taken.is_empty());
    taken
}

/// Enough to run a test, few enough to use up.
const FEW_DESCRIPTORS: u64 = 64;
const NOBODY: u32 = 65_534;
const CHILD: &str = "COUNTERSIGN_TEST_CHILD";
