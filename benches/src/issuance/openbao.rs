//! OpenBao beside us: its real server with raft storage, a PKI mount that stores nothing, and
//! keep-alive connections without TLS. CSRs are made beforehand, as our key proofs are.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use futures_util::future::try_join_all;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, DistinguishedName, KeyPair, SanType};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;

use super::cost::{Batches, Bench, NODES};
use super::cpu::Cpu;
use super::plane::until;
use super::report::{Report, median, quantile};
use super::workload_id;

/// Rounds; odd.
const ROUNDS: usize = 7;
/// Batches on each of our nodes in one round.
const BATCHES: usize = 3;
/// Connections to the peer, and signatures on each in one round.
const CONNECTIONS: usize = 16;
const EACH: usize = 25;
const START_DEADLINE: Duration = Duration::from_secs(30);

/// SVIDs a second of both, on one core (the clients on the other) and on two.
///
/// # Errors
/// One of them does not start, or refuses.
pub async fn against(report: Report) -> Result<()> {
    let program = program()?;
    for (name, cores) in [("one core", Some("0")), ("two cores", None)] {
        let mut ours = Bench::start(cores, NODES).await?;
        let theirs = Peer::start(&program, cores).await?;
        let mut load = theirs.load().await?;
        ours.batches(1).await?;
        load.run().await?;
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            let Batches { cpu, rate, .. } = ours.batches(BATCHES).await?;
            load.prepare()?;
            let (peer_cpu, peer_rate) = theirs.measure(&mut load).await?;
            rounds.push((rate, cpu, peer_rate, peer_cpu));
        }
        report.title(&format!("beside OpenBao, {name}"));
        let of = |value: fn(&Round) -> f64| median(rounds.iter().map(value).collect());
        report.figure("ours: TLS, durable log, stream", of(|it| it.0), "/s");
        report.figure("OpenBao: no TLS, nothing stored", of(|it| it.2), "/s");
        report.figure("by the clock", of(|it| it.0 / it.2), "×");
        report.figure(
            "by CPU of the server",
            of(|it| it.3.div_duration_f64(it.1)),
            "×",
        );
        let cpu: Vec<_> = rounds.iter().map(|it| it.3).collect();
        report.micros("OpenBao: CPU for one", quantile(&cpu, 0.5));
    }
    Ok(())
}

/// Our rate and CPU for one, theirs.
type Round = (f64, Duration, f64, Duration);

/// The peer's program: `benches/peers.sh` installs it.
fn program() -> Result<PathBuf> {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join(".peers/bin/bao");
    ensure!(program.exists(), "run benches/peers.sh first");
    Ok(program)
}

struct Peer {
    child: Child,
    address: SocketAddr,
    token: String,
    _folder: TempDir,
}

impl Peer {
    async fn start(program: &Path, cores: Option<&str>) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let (address, cluster) = (free_address()?, free_address()?);
        let config = folder.path().join("bao.hcl");
        let data = folder.path().join("data");
        fs::create_dir(&data)?;
        let text = format!(
            "api_addr = \"http://{address}\"\ncluster_addr = \"http://{cluster}\"\n\
             storage \"raft\" {{\n  path = {data:?}\n  node_id = \"bench\"\n}}\n\
             listener \"tcp\" {{\n  address = \"{address}\"\n\
             cluster_address = \"{cluster}\"\n  tls_disable = true\n}}\n"
        );
        fs::write(&config, text)?;
        let mut command = Command::new("taskset");
        command.args(["-c", cores.unwrap_or("0,1")]).arg(program);
        command.arg("server").arg("-config").arg(&config);
        let command = command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut peer = Self {
            child: command.spawn()?,
            address,
            token: String::new(),
            _folder: folder,
        };
        peer.set_up().await?;
        Ok(peer)
    }

    /// Initialised, unsealed, with a root and a role that stores nothing.
    async fn set_up(&mut self) -> Result<()> {
        let keys = until(START_DEADLINE, async || {
            let shares = json!({"secret_shares": 1, "secret_threshold": 1});
            self.put("sys/init", &shares).await
        });
        let keys = keys.await?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        self.token = text(&keys["root_token"]);
        let key = json!({"key": text(&keys["keys"][0])});
        self.put("sys/unseal", &key).await?;
        let mount = json!({"type": "pki", "config": {"max_lease_ttl": "8760h"}});
        until(START_DEADLINE, async || {
            self.put("sys/mounts/pki", &mount).await
        })
        .await?;
        let root =
            json!({"common_name": "root", "key_type": "ec", "key_bits": 256, "ttl": "8000h"});
        self.put("pki/root/generate/internal", &root).await?;
        let role = json!({
            "key_type": "ec", "key_bits": 256, "allowed_uri_sans": ["spiffe://*"],
            "require_cn": false, "no_store": true, "generate_lease": false, "ttl": "1h",
        });
        self.put("pki/roles/svid", &role).await?;
        Ok(())
    }

    async fn put(&self, path: &str, body: &Value) -> Result<Value> {
        let mut connection = connect(self.address).await?;
        let request = self.request(path, Bytes::from(serde_json::to_vec(body)?))?;
        let answer = connection.send_request(request).await?;
        let (status, body) = (
            answer.status(),
            answer.into_body().collect().await?.to_bytes(),
        );
        ensure!(status.is_success(), "{path}: {status}: {body:?}");
        Ok(serde_json::from_slice(&body).unwrap_or_default())
    }

    fn request(&self, path: &str, body: Bytes) -> Result<Request<Full<Bytes>>> {
        let request = Request::post(format!("/v1/{path}"))
            .header("host", "bao")
            .header("x-vault-token", &self.token);
        Ok(request.body(Full::new(body))?)
    }

    async fn load(&self) -> Result<Load<'_>> {
        let connections = (0..CONNECTIONS).map(|_| connect(self.address));
        let mut load = Load {
            peer: self,
            connections: try_join_all(connections).await?,
            bodies: Vec::new(),
        };
        load.prepare()?;
        Ok(load)
    }

    /// CPU for one signature, and how many a second.
    async fn measure(&self, load: &mut Load<'_>) -> Result<(Duration, f64)> {
        let count = u32::try_from(CONNECTIONS * EACH)?;
        let (cpu, begun) = (Cpu::of(self.child.id())?, Instant::now());
        load.run().await?;
        let rate = f64::from(count) / begun.elapsed().as_secs_f64();
        Ok((cpu.since()? / count, rate))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Connections and what is sent on them next.
struct Load<'a> {
    peer: &'a Peer,
    connections: Vec<SendRequest<Full<Bytes>>>,
    bodies: Vec<Vec<Bytes>>,
}

impl Load<'_> {
    fn prepare(&mut self) -> Result<()> {
        let each = || (0..EACH).map(body).collect();
        self.bodies = (0..CONNECTIONS).map(|_| each()).collect::<Result<_>>()?;
        Ok(())
    }

    async fn run(&mut self) -> Result<()> {
        let peer = self.peer;
        let bodies = std::mem::take(&mut self.bodies);
        let work = self.connections.iter_mut().zip(bodies);
        let work = work.map(|(connection, bodies)| async move {
            for body in bodies {
                connection.ready().await?;
                let request = peer.request("pki/sign/svid", body)?;
                let answer = connection.send_request(request).await?;
                let status = answer.status();
                let body = answer.into_body().collect().await?.to_bytes();
                ensure!(status.is_success(), "{status}: {body:?}");
            }
            Ok(())
        });
        try_join_all(work).await.map(drop)
    }
}

fn body(workload: usize) -> Result<Bytes> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let id = workload_id(0, workload);
    params.subject_alt_names = vec![SanType::URI(id.as_str().try_into()?)];
    let csr = params.serialize_request(&KeyPair::generate()?)?.pem()?;
    Ok(serde_json::to_vec(&json!({"csr": csr}))?.into())
}

/// A port that it chose itself would be told nowhere: one that is free at this moment.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

async fn connect(address: SocketAddr) -> Result<SendRequest<Full<Bytes>>> {
    let tcp = TcpStream::connect(address).await?;
    tcp.set_nodelay(true)?;
    let (requests, connection) = handshake(TokioIo::new(tcp)).await.context("no HTTP")?;
    // How a connection ends is seen by the requests on it.
    tokio::spawn(async { drop(connection.await) });
    Ok(requests)
}
