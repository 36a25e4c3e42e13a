//! The cluster behind the listener, and the sidecar that has the secrets.

use super::Protocol;
use super::bootstrap::{Bootstrap, CONNECTION_BUFFER, Peers, UPSTREAM, port_at, seconds};
use super::endpoint::Endpoint;
use super::tls::{self, SIDECAR};
use super::tree::{Tree, list, map, typed};

/// Streams of one HTTP/2 connection, and its windows: a peer must not make Envoy hold more.
const H2_STREAMS: u32 = 100;
const H2_STREAM_WINDOW: u32 = 65_536;
const H2_CONNECTION_WINDOW: u32 = 1_048_576;
const HTTP_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

impl Bootstrap<'_> {
    pub(super) fn cluster(&self) -> Tree {
        let (host, port) = self.upstream.parts();
        let (discovery, server_name) = match self.upstream {
            Endpoint::Address(_) => ("STATIC", None),
            Endpoint::Name(name, _) => ("LOGICAL_DNS", Some(name.as_str())),
        };
        let limit = || Tree::from(self.max_connections);
        let thresholds = map([
            ("max_connections", limit()),
            ("max_pending_requests", limit()),
            ("max_requests", limit()),
        ]);
        let cluster = map([
            ("name", UPSTREAM.into()),
            ("type", discovery.into()),
            ("connect_timeout", "5s".into()),
            (
                "per_connection_buffer_limit_bytes",
                CONNECTION_BUFFER.into(),
            ),
            (
                "circuit_breakers",
                map([("thresholds", list([thresholds]))])
                    .because("Envoy's own limit is 1,024 requests."),
            ),
            (
                "load_assignment",
                assignment(UPSTREAM, port_at(&host, port)),
            ),
        ]);
        let families = server_name.map(|_| {
            Tree::from("ALL").because("Of both families the first that answers is taken.")
        });
        let cluster = cluster.with("dns_lookup_family", families);
        let cluster = match self.protocol {
            Protocol::Http => {
                let common = matches!(self.peers, Peers::Outbound { .. });
                let protocols = map([
                    ("http_protocol_options", map([])),
                    ("http2_protocol_options", http2_bounds()),
                ]);
                let options = http_options().with(
                    "use_downstream_protocol_config",
                    protocols.because("HTTP/1.1, HTTP/2 and gRPC go on as they came."),
                );
                let options = options.with(
                    "common_http_protocol_options",
                    common.then(|| self.common_http()),
                );
                cluster.with(
                    "typed_extension_protocol_options",
                    map([(HTTP_OPTIONS, options)]),
                )
            }
            Protocol::Tcp => cluster,
        };
        match self.peers {
            Peers::Inbound { .. } => cluster,
            Peers::Outbound { .. } => {
                cluster.with("transport_socket", tls::upstream(self, server_name))
            }
        }
    }

    pub(super) fn sidecar(&self) -> Tree {
        let path = self.socket.to_string_lossy().into_owned();
        let keepalive = map([("interval", "30s".into()), ("timeout", "5s".into())]);
        let http2 = map([("connection_keepalive", keepalive)]);
        let options = http_options().with(
            "explicit_http_config",
            map([("http2_protocol_options", http2)]),
        );
        map([
            ("name", SIDECAR.into()),
            ("type", "STATIC".into()),
            ("connect_timeout", "1s".into()),
            (
                "typed_extension_protocol_options",
                map([(HTTP_OPTIONS, options)]),
            ),
            (
                "load_assignment",
                assignment(SIDECAR, map([("pipe", map([("path", path.into())]))])),
            ),
        ])
        .because("The socket of the sidecar: it attests this process by its user.")
    }

    /// The same at both ends: of whoever connects, and of the pool of connections behind.
    pub(super) fn common_http(&self) -> Tree {
        map([(
            "max_connection_duration",
            Tree::from(seconds(self.max_connection_duration)).because(
                "A connection keeps the identity that it began with: this bounds for how long.\n\
                     Nothing that is under way is cut.",
            ),
        )])
    }
}

pub(super) fn http2_bounds() -> Tree {
    map([
        ("max_concurrent_streams", H2_STREAMS.into()),
        ("initial_stream_window_size", H2_STREAM_WINDOW.into()),
        (
            "initial_connection_window_size",
            H2_CONNECTION_WINDOW.into(),
        ),
    ])
}

fn http_options() -> Tree {
    typed(HTTP_OPTIONS, [])
}

/// A cluster of one endpoint.
fn assignment(cluster: &'static str, address: Tree) -> Tree {
    let endpoint = map([("endpoint", map([("address", address)]))]);
    map([
        ("cluster_name", cluster.into()),
        (
            "endpoints",
            list([map([("lb_endpoints", list([endpoint]))])]),
        ),
    ])
}
