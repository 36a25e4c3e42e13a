//! `countersign envoy bootstrap`: an Envoy that takes its identity from the sidecar of its node, as a
//! file that it starts with. Offline.
//!
//! The flags are those of the sidecar's own listeners: who may come in (`--allow`), or who is expected
//! at the other end (`--expect`). What is decided here is which combinations are safe; what is written
//! then is in [`bootstrap`].

mod access_log;
mod bootstrap;
mod cluster;
mod endpoint;
mod listener;
mod tls;
mod tree;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use countersign_cli::{Exit, Failure};
use countersign_model::SpiffeId;
use serde::Serialize;

use crate::destination::{self, Destination};
use crate::output::Output;
use bootstrap::{Bootstrap, Peers};
use endpoint::Endpoint;

/// The socket of a sidecar that was installed.
const SOCKET: &str = "/run/countersign/sidecar/sidecar.sock";
/// Where every SPIFFE program is told the socket, as `unix:///run/x.sock`.
const SOCKET_VARIABLE: &str = "SPIFFE_ENDPOINT_SOCKET";
/// How long a connection of http keeps the identity that it began with, where nothing is said.
const KEPT: Duration = Duration::from_secs(3_600);
/// Longest path that a Unix socket can have.
const MAX_SOCKET_BYTES: usize = 107;

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Write a bootstrap: in front of a service (inbound) or beside a client (outbound)
    #[command(after_help = EXAMPLES)]
    Bootstrap(Write),
}

const EXAMPLES: &str = "Examples:\n  \
    countersign envoy bootstrap --id spiffe://example.org/web --listen 0.0.0.0:8443 \\\n    \
    --upstream 127.0.0.1:8080 --allow spiffe://example.org/client -o inbound.yaml\n  \
    countersign envoy bootstrap --id spiffe://example.org/client --listen 127.0.0.1:8081 \\\n    \
    --upstream web.example:8443 --expect spiffe://example.org/web -o outbound.yaml\n  \
    envoy --mode validate -c inbound.yaml\n  \
    envoy --use-dynamic-base-id -c inbound.yaml\n\n\
    Inbound: mTLS at --listen, plaintext to --upstream. Outbound, with --expect: plaintext at \
    --listen,\nmTLS to --upstream. With --json, or a FILE that ends in .json, JSON without comments.";

#[derive(Debug, Args)]
pub(crate) struct Write {
    /// The identity that Envoy presents: of a registration of this node
    #[arg(long, value_name = "SPIFFE ID", value_parser = SpiffeId::with_path)]
    id: SpiffeId,
    /// Where it listens
    #[arg(long, value_name = "IP:PORT", value_parser = address)]
    listen: SocketAddr,
    /// Where it connects to: the service (inbound), or the service's proxy (outbound)
    #[arg(long, value_name = "HOST:PORT")]
    upstream: Endpoint,
    /// Inbound: an ID that may connect; again for more [default: every identity of the trust domain]
    #[arg(long, value_name = "SPIFFE ID", value_parser = SpiffeId::with_path, conflicts_with = "expect")]
    allow: Vec<SpiffeId>,
    /// Outbound: an ID, one of which the other end must present
    #[arg(long, value_name = "SPIFFE ID", value_parser = SpiffeId::with_path)]
    expect: Vec<SpiffeId>,
    /// What is carried
    #[arg(long, value_enum, default_value_t = Protocol::Http)]
    protocol: Protocol,
    /// The sidecar's socket [env: SPIFFE_ENDPOINT_SOCKET] [default: /run/countersign/sidecar/sidecar.sock]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Envoy's admin port: loopback, read-only
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:9901", value_parser = address)]
    admin: SocketAddr,
    /// What Envoy calls itself in the sidecar's status [default: from the ID]
    #[arg(long, value_name = "NAME")]
    node_id: Option<String>,
    /// Most connections that it has open at once
    #[arg(long, value_name = "NUMBER", default_value_t = 16_384, value_parser = connections)]
    max_connections: u32,
    /// How long a connection may keep the identity that it began with: of http alone [default: 1h]
    #[arg(long, value_name = "DURATION", value_parser = countersign_cli::duration::parse)]
    max_connection_duration: Option<Duration>,
    /// A file for one JSON line a request or connection [default: stdout]
    #[arg(long, value_name = "FILE")]
    access_log: Option<PathBuf>,
    /// A file for the bootstrap; without it, or with -, stdout
    #[arg(long, short, value_name = "FILE")]
    out: Option<Destination>,
}

/// What Envoy understands of what it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Protocol {
    /// HTTP/1.1, HTTP/2 and gRPC, each as the client speaks it
    Http,
    /// Bytes
    Tcp,
}

#[derive(Serialize)]
struct Written<'a> {
    path: &'a Path,
    direction: &'static str,
}

impl Verb {
    pub(crate) fn run(self, output: Output) -> Result<Exit, Failure> {
        let Self::Bootstrap(write) = self;
        let socket_url = std::env::var(SOCKET_VARIABLE).ok();
        let bootstrap = write.judge(socket_url.as_deref())?;
        let tree = bootstrap.tree();
        if matches!(bootstrap.peers, Peers::Inbound { allow } if allow.is_empty()) {
            let trust_domain = bootstrap.id.trust_domain();
            output.progress(format!(
                "every identity of {trust_domain} may connect, nodes too: name those that may with --allow"
            ));
        }
        let Some(path) = destination::file(write.out.as_ref()) else {
            output.show(&tree.to_json(), |_| tree.to_yaml().trim_end().to_owned())?;
            return Ok(Exit::Yes);
        };
        let text = if path.extension().is_some_and(|it| it == "json") {
            format!("{:#}\n", tree.to_json())
        } else {
            tree.to_yaml()
        };
        let remedy = "name a file in a directory that you can write";
        destination::write(path, &text, "bootstrap_not_written", remedy)?;
        let direction = bootstrap.peers.direction();
        output.show(&Written { path, direction }, |written| {
            let path = written.path.display();
            format!("{path}: {direction}; start it with envoy --use-dynamic-base-id -c {path}")
        })?;
        Ok(Exit::Yes)
    }
}

impl Write {
    /// What is to be written, if it is safe and can work. The URL is that of the environment.
    fn judge(&self, socket_url: Option<&str>) -> Result<Bootstrap<'_>, Failure> {
        let peers = match (&*self.allow, &*self.expect) {
            (allow, []) => Peers::Inbound { allow },
            (_, expect) => Peers::Outbound { expect },
        };
        self.judge_identities(&peers)?;
        self.judge_addresses(&peers)?;
        if self.protocol == Protocol::Tcp && self.max_connection_duration.is_some() {
            return Err(failure(
                "duration_of_tcp",
                "--max-connection-duration has no effect on --protocol tcp: bytes are not cut off"
                    .to_owned(),
                "leave it out, or carry --protocol http".to_owned(),
            ));
        }
        Ok(Bootstrap {
            id: &self.id,
            listen: self.listen,
            upstream: &self.upstream,
            peers,
            protocol: self.protocol,
            socket: socket(self.socket.as_deref(), socket_url)?,
            admin: self.admin,
            node_id: self.node_id.as_deref(),
            max_connections: self.max_connections,
            max_connection_duration: self.max_connection_duration.unwrap_or(KEPT),
            access_log: self.access_log.as_deref(),
        })
    }

    fn judge_identities(&self, peers: &Peers<'_>) -> Result<(), Failure> {
        let trust_domain = self.id.trust_domain();
        if self.id.is_reserved() {
            return Err(failure(
                "reserved_id",
                format!(
                    "{} lies under /countersign/, which is no workload's",
                    self.id
                ),
                "name the ID of a registration: countersign list shows them".to_owned(),
            ));
        }
        let foreign = peers
            .ids()
            .iter()
            .find(|id| !id.is_member_of(&trust_domain));
        foreign.map_or(Ok(()), |peer| {
            Err(failure(
                "foreign_peer",
                format!("{peer} is of another trust domain than {}", self.id),
                format!("name a peer of {trust_domain}: its roots alone are trusted"),
            ))
        })
    }

    /// Plaintext and the admin port stay on this machine, and no port is taken twice.
    fn judge_addresses(&self, peers: &Peers<'_>) -> Result<(), Failure> {
        let loopback = "use an address of 127.0.0.0/8 or [::1]".to_owned();
        let beyond = |flag: &str, value: &dyn std::fmt::Display, why: &str| {
            let message = format!("{flag} {value} is not a loopback address: {why}");
            Err(failure("not_loopback", message, loopback.clone()))
        };
        if !self.admin.ip().is_loopback() {
            return beyond("--admin", &self.admin, "everybody could read it");
        }
        match peers {
            Peers::Inbound { .. } if !self.upstream.is_loopback() => {
                let why = "plaintext would leave the machine (for mTLS to the upstream, --expect)";
                return beyond("--upstream", &self.upstream, why);
            }
            Peers::Outbound { .. } if !self.listen.ip().is_loopback() => {
                let why = "everybody who reaches it would speak as this identity";
                return beyond("--listen", &self.listen, why);
            }
            Peers::Inbound { .. } | Peers::Outbound { .. } => {}
        }
        for (flag, address) in [("--listen", self.listen), ("--admin", self.admin)] {
            if self.upstream.is_at(address) {
                let message = format!("{flag} and --upstream are both {address}");
                let remedy = "let each have a port of its own".to_owned();
                return Err(failure("same_address", message, remedy));
            }
        }
        if self.listen == self.admin && self.listen.port() != 0 {
            let message = format!("--listen and --admin are both {}", self.listen);
            let remedy = "let each have a port of its own".to_owned();
            return Err(failure("same_address", message, remedy));
        }
        Ok(())
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let example = "write IP:PORT, such as 127.0.0.1:8443, 0.0.0.0:8443 or [::1]:8443";
    text.parse().map_err(|_| example.to_owned())
}

fn connections(text: &str) -> Result<u32, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| format!("write a number from 1 to {}", u32::MAX))
}

/// The sidecar's socket as Envoy can use it from any folder.
fn socket(named: Option<&Path>, url: Option<&str>) -> Result<PathBuf, Failure> {
    let url = url.filter(|url| !url.is_empty());
    let path = match (named, url) {
        (Some(path), _) => path.to_owned(),
        (None, None) => SOCKET.into(),
        (None, Some(url)) => from_url(url)?,
    };
    let absolute = std::path::absolute(&path).unwrap_or(path);
    let length = absolute.as_os_str().len();
    if absolute.to_str().is_none() || length > MAX_SOCKET_BYTES {
        return Err(failure(
            "socket_path",
            format!(
                "{} is no path that a Unix socket can have",
                absolute.display()
            ),
            format!("use at most {MAX_SOCKET_BYTES} bytes of UTF-8: it has {length}"),
        ));
    }
    Ok(absolute)
}

/// Envoy is on the sidecar's machine, and only a Unix socket tells the sidecar who it is.
fn from_url(url: &str) -> Result<PathBuf, Failure> {
    let path = url.strip_prefix("unix:").map(|path| {
        // unix:///run/x.sock has an empty authority.
        let path = path.strip_prefix("//").unwrap_or(path);
        PathBuf::from(path)
    });
    let path = path.filter(|path| !path.as_os_str().is_empty());
    path.ok_or_else(|| {
        failure(
            "socket_url",
            format!("{SOCKET_VARIABLE} is {url}, and names no Unix socket"),
            format!("set it to unix://{SOCKET}, or name the socket with --socket"),
        )
    })
}

fn failure(code: &str, message: String, remedy: String) -> Failure {
    Failure::new(Exit::Usage, code, message, remedy)
}

#[cfg(test)]
mod tests;
