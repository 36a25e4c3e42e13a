//! A whole bootstrap: one listener, the cluster behind it, and the sidecar that has the secrets.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use countersign_model::SpiffeId;

use super::Protocol;
use super::endpoint::Endpoint;
use super::tree::{Tree, list, map, typed};

/// The cluster behind the listener.
pub(super) const UPSTREAM: &str = "upstream";
/// Bytes that a connection may have in a buffer of either side.
pub(super) const CONNECTION_BUFFER: u32 = 32_768;
/// The heap from which on Envoy takes no more requests: for some 16,384 connections with full buffers.
const HEAP: u64 = 1024 * 1024 * 1024;
/// What the admin port answers: what is read, and nothing that stops or changes the proxy.
const ADMIN_PATHS: [&str; 7] = [
    "/ready",
    "/stats",
    "/stats/prometheus",
    "/certs",
    "/clusters",
    "/listeners",
    "/server_info",
];
/// The same with parameters.
const ADMIN_PREFIXES: [&str; 2] = ["/stats?", "/config_dump"];

/// Everything that a bootstrap says.
#[derive(Debug)]
pub(super) struct Bootstrap<'a> {
    pub(super) id: &'a SpiffeId,
    pub(super) listen: SocketAddr,
    pub(super) upstream: &'a Endpoint,
    pub(super) peers: Peers<'a>,
    pub(super) protocol: Protocol,
    /// Absolute.
    pub(super) socket: PathBuf,
    pub(super) admin: SocketAddr,
    pub(super) node_id: Option<&'a str>,
    pub(super) max_connections: u32,
    pub(super) max_connection_duration: Duration,
    pub(super) access_log: Option<&'a Path>,
}

/// Who is at the other end of mTLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peers<'a> {
    /// Those who connect; none named: every identity of the trust domain.
    Inbound { allow: &'a [SpiffeId] },
    /// Those who answer, at least one.
    Outbound { expect: &'a [SpiffeId] },
}

impl<'a> Peers<'a> {
    pub(super) fn ids(self) -> &'a [SpiffeId] {
        match self {
            Self::Inbound { allow: ids } | Self::Outbound { expect: ids } => ids,
        }
    }

    pub(super) fn direction(self) -> &'static str {
        match self {
            Self::Inbound { .. } => "inbound",
            Self::Outbound { .. } => "outbound",
        }
    }
}

impl Bootstrap<'_> {
    /// The document.
    pub(super) fn tree(&self) -> Tree {
        let node = map([
            ("id", self.node_name().into()),
            ("cluster", self.id.trust_domain().to_string().into()),
        ]);
        let resources = map([
            ("listeners", list([self.listener()])),
            ("clusters", list([self.cluster(), self.sidecar()])),
        ]);
        map([
            (
                "node",
                node.because(format!(
                    "Written by countersign envoy bootstrap: {} for {}.\n\
                     What Envoy calls itself. It is told, not proved, and decides nothing.",
                    self.peers.direction(),
                    self.id
                )),
            ),
            ("admin", self.admin()),
            ("overload_manager", self.overload()),
            ("static_resources", resources),
        ])
    }

    fn node_name(&self) -> String {
        let from_id = || {
            let path = self.id.path().trim_start_matches('/').replace('/', "-");
            format!("{path}-{}", self.peers.direction())
        };
        self.node_id.map_or_else(from_id, ToOwned::to_owned)
    }

    fn admin(&self) -> Tree {
        let exact = ADMIN_PATHS.map(|path| map([("exact", path.into())]));
        let prefix = ADMIN_PREFIXES.map(|path| map([("prefix", path.into())]));
        map([
            ("address", socket_address(self.admin)),
            ("ignore_global_conn_limit", true.into()),
            (
                "allow_paths",
                list(exact.into_iter().chain(prefix)).because(
                    "Every process of the machine can ask this port. What is not in the list, such as\n\
                     /quitquitquit, is refused; to end Envoy send it SIGTERM.",
                ),
            ),
        ])
    }

    fn overload(&self) -> Tree {
        let monitor = |name: &'static str, config: Tree| {
            map([("name", name.into()), ("typed_config", config)])
        };
        let heap = typed(
            "envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig",
            [(
                "max_heap_size_bytes",
                Tree::from(HEAP).because("Raise it with --max-connections."),
            )],
        );
        let connections = typed(
            "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
            [(
                "max_active_downstream_connections",
                self.max_connections.into(),
            )],
        );
        let action = |name: &'static str, threshold: f64| {
            let trigger = map([
                ("name", "envoy.resource_monitors.fixed_heap".into()),
                ("threshold", map([("value", threshold.into())])),
            ]);
            map([("name", name.into()), ("triggers", list([trigger]))])
        };
        map([
            ("refresh_interval", "0.25s".into()),
            (
                "resource_monitors",
                list([
                    monitor("envoy.resource_monitors.fixed_heap", heap),
                    monitor(
                        "envoy.resource_monitors.global_downstream_max_connections",
                        connections,
                    ),
                ]),
            ),
            (
                "actions",
                list([
                    action("envoy.overload_actions.shrink_heap", 0.95),
                    action("envoy.overload_actions.stop_accepting_requests", 0.98),
                ]),
            ),
        ])
        .because("A flood is refused before it takes the machine.")
    }
}

pub(super) fn socket_address(address: SocketAddr) -> Tree {
    port_at(&address.ip().to_string(), address.port())
}

pub(super) fn port_at(host: &str, port: u16) -> Tree {
    let address = map([("address", host.into()), ("port_value", port.into())]);
    map([("socket_address", address)])
}

/// As Envoy's configuration writes a duration.
pub(super) fn seconds(duration: Duration) -> String {
    format!("{}s", duration.as_secs_f64())
}
