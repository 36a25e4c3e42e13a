//! The one listener, and what it does with a connection.

use super::Protocol;
use super::bootstrap::{Bootstrap, CONNECTION_BUFFER, Peers, UPSTREAM, socket_address};
use super::cluster::http2_bounds;
use super::tls;
use super::tree::{Tree, list, map, typed};

impl Bootstrap<'_> {
    pub(super) fn listener(&self) -> Tree {
        let filter = match self.protocol {
            Protocol::Http => self.http_filter(),
            Protocol::Tcp => self.tcp_filter(),
        };
        let chain = map([("filters", list([filter]))]);
        let chain = match self.peers {
            Peers::Inbound { .. } => chain
                .with(
                    "transport_socket_connect_timeout",
                    Tree::from("10s").because("A handshake that is not ended is cut."),
                )
                .with("transport_socket", tls::downstream(self)),
            Peers::Outbound { .. } => chain,
        };
        map([
            ("name", self.peers.direction().into()),
            ("address", socket_address(self.listen)),
            (
                "per_connection_buffer_limit_bytes",
                CONNECTION_BUFFER.into(),
            ),
            ("filter_chains", list([chain])),
        ])
    }

    fn tcp_filter(&self) -> Tree {
        let proxy = typed(
            "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
            [
                (
                    "stat_prefix",
                    Tree::from(self.peers.direction()).because(
                        "A connection keeps the identity that it began with until an end closes it.",
                    ),
                ),
                ("cluster", UPSTREAM.into()),
                ("access_log", self.access_log()),
            ],
        );
        map([
            ("name", "envoy.filters.network.tcp_proxy".into()),
            ("typed_config", proxy),
        ])
    }

    fn http_filter(&self) -> Tree {
        let route = map([
            ("match", map([("prefix", "/".into())])),
            (
                "route",
                map([
                    ("cluster", UPSTREAM.into()),
                    (
                        "timeout",
                        Tree::from("0s").because(
                            "Long answers and streams may take their time; an idle one ends after 5 min.",
                        ),
                    ),
                ]),
            ),
        ]);
        let host = map([
            ("name", UPSTREAM.into()),
            ("domains", list(["*".into()])),
            ("routes", list([route])),
        ]);
        let router = map([
            ("name", "envoy.filters.http.router".into()),
            (
                "typed_config",
                typed("envoy.extensions.filters.http.router.v3.Router", []),
            ),
        ]);
        let manager = typed(
            "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            [
                ("stat_prefix", self.peers.direction().into()),
                ("access_log", self.access_log()),
                ("route_config", map([("virtual_hosts", list([host]))])),
                ("http_filters", list([router])),
                ("common_http_protocol_options", self.common_http().with(
                    "headers_with_underscores_action",
                    Tree::from("DROP_HEADER").because(
                        "CGI and WSGI take x_forwarded_client_cert for x-forwarded-client-cert.",
                    ),
                )),
                ("http2_protocol_options", http2_bounds()),
                (
                    "request_headers_timeout",
                    Tree::from("10s").because("Headers that come byte by byte are cut."),
                ),
                ("stream_idle_timeout", "300s".into()),
            ],
        );
        let manager = match self.peers {
            Peers::Inbound { .. } => manager
                .with(
                    "forward_client_cert_details",
                    Tree::from("SANITIZE_SET").because(
                        "The service is told in x-forwarded-client-cert who calls; what the caller \
                         wrote\nthere itself is dropped.",
                    ),
                )
                .with(
                    "set_current_client_cert_details",
                    map([("uri", true.into())]),
                )
                .with(
                    "use_remote_address",
                    Tree::from(true).because(
                        "Else the caller's x-forwarded-for makes a request internal, and its \
                         x-envoy-* headers\nchoose retries and timeouts.",
                    ),
                ),
            Peers::Outbound { .. } => manager,
        };
        map([
            (
                "name",
                "envoy.filters.network.http_connection_manager".into(),
            ),
            ("typed_config", manager),
        ])
    }
}
