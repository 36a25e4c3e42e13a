//! What an Envoy starts with: what `countersign envoy bootstrap` writes, of a listener for HTTP and of
//! one for bytes, in one file.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::binaries;

/// How an Envoy subscribes to its secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// State of the world, with the node in every message.
    StateOfTheWorld,
    /// Delta, with the node in the first message only.
    Delta,
}

/// What every bootstrap says.
#[derive(Clone, Debug)]
pub struct Bootstrap<'a> {
    /// The sidecar's socket.
    pub sds_socket: &'a Path,
    /// SDS name of the certificate.
    pub identity: &'a str,
    /// SDS name of the bundle.
    pub bundle: &'a str,
    /// The one peer that is accepted.
    pub peer: &'a str,
    /// How it subscribes.
    pub dialect: Dialect,
}

/// On which side of mTLS the plaintext is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Inbound,
    Outbound,
}

impl Direction {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
        }
    }
}

impl Bootstrap<'_> {
    /// One document with a listener for HTTP and one for bytes, each with where it leads.
    pub(super) fn write(
        &self,
        direction: Direction,
        [http, tcp]: [(SocketAddr, SocketAddr); 2],
        admin: SocketAddr,
        access_log: &Path,
    ) -> Result<Value> {
        let generate = |protocol, ends| self.generate(direction, protocol, ends, admin, access_log);
        let mut all = generate("http", http)?;
        let mut tcp = generate("tcp", tcp)?;
        let [mut listener, mut cluster] =
            ["listeners", "clusters"].map(|kind| tcp["static_resources"][kind][0].take());
        listener["name"] = json!("tcp");
        listener["filter_chains"][0]["filters"][0]["typed_config"]["cluster"] = json!("tcp");
        cluster["name"] = json!("tcp");
        cluster["load_assignment"]["cluster_name"] = json!("tcp");
        for (kind, resource) in [("listeners", listener), ("clusters", cluster)] {
            let list = all["static_resources"][kind].as_array_mut();
            list.context("a list")?.push(resource);
        }
        self.subscribe(&mut all);
        Ok(all)
    }

    fn generate(
        &self,
        direction: Direction,
        protocol: &str,
        (listen, upstream): (SocketAddr, SocketAddr),
        admin: SocketAddr,
        access_log: &Path,
    ) -> Result<Value> {
        let peer = match direction {
            Direction::Inbound => "--allow",
            Direction::Outbound => "--expect",
        };
        let output = std::process::Command::new(binaries::ours("countersign")?)
            .args(["--json", "envoy", "bootstrap", "--id", self.identity])
            .args(["--protocol", protocol, peer, self.peer])
            .args(["--listen", &listen.to_string()])
            .args(["--upstream", &upstream.to_string()])
            .args(["--admin", &admin.to_string()])
            .arg("--socket")
            .arg(self.sds_socket)
            .arg("--access-log")
            .arg(access_log)
            .output()?;
        let told = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "no bootstrap: {told}");
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Subscribes in the dialect and to the bundle that are wanted, wherever a secret is named.
    fn subscribe(&self, value: &mut Value) {
        let (api_type, node_once) = match self.dialect {
            Dialect::StateOfTheWorld => ("GRPC", false),
            Dialect::Delta => ("DELTA_GRPC", true),
        };
        match value {
            Value::Array(items) => items.iter_mut().for_each(|item| self.subscribe(item)),
            Value::Object(entries) => {
                for (key, value) in entries {
                    match key.as_str() {
                        "api_type" => *value = json!(api_type),
                        "set_node_on_first_message_only" => *value = json!(node_once),
                        "validation_context_sds_secret_config" => {
                            value["name"] = json!(self.bundle);
                            self.subscribe(value);
                        }
                        _ => self.subscribe(value),
                    }
                }
            }
            _ => {}
        }
    }
}

/// A listener that chooses among certificates by the server name.
pub(super) fn many_secrets(
    sds_socket: &Path,
    names: &[String],
    tls: SocketAddr,
    admin: SocketAddr,
) -> Value {
    const EXTENSIONS: &str = "type.googleapis.com/envoy.extensions";
    let sds_config = json!({
        "resource_api_version": "V3",
        "api_config_source": {
            "api_type": "DELTA_GRPC",
            "transport_api_version": "V3",
            "set_node_on_first_message_only": true,
            "grpc_services": [{"envoy_grpc": {
                "cluster_name": "sidecar",
                "retry_policy": {"retry_back_off": {"base_interval": "0.2s", "max_interval": "2s"}},
            }}],
        },
    });
    let filter = json!({
        "name": "envoy.filters.network.tcp_proxy",
        "typed_config": {
            "@type": format!("{EXTENSIONS}.filters.network.tcp_proxy.v3.TcpProxy"),
            "stat_prefix": "tcp",
            "cluster": "sidecar",
        },
    });
    let chain = |(number, name): (usize, &String)| {
        json!({
            "filter_chain_match": {"server_names": [format!("s{number}.invalid")]},
            "transport_socket": {
                "name": "envoy.transport_sockets.tls",
                "typed_config": {
                    "@type": format!("{EXTENSIONS}.transport_sockets.tls.v3.DownstreamTlsContext"),
                    "common_tls_context": {
                        "tls_certificate_sds_secret_configs": [{"name": name, "sds_config": sds_config}],
                    },
                },
            },
            "filters": [filter],
        })
    };
    let chains: Vec<Value> = names.iter().enumerate().map(chain).collect();
    let http = format!("{EXTENSIONS}.upstreams.http.v3.HttpProtocolOptions");
    json!({
        "node": {"id": "many", "cluster": "countersign"},
        "admin": {"address": {"socket_address": {
            "address": "127.0.0.1", "port_value": admin.port(),
        }}},
        "static_resources": {
            "listeners": [{
                "name": "many",
                "address": {"socket_address": {"address": "127.0.0.1", "port_value": tls.port()}},
                "listener_filters": [{
                    "name": "envoy.filters.listener.tls_inspector",
                    "typed_config": {
                        "@type": format!("{EXTENSIONS}.filters.listener.tls_inspector.v3.TlsInspector"),
                    },
                }],
                "filter_chains": chains,
            }],
            "clusters": [{
                "name": "sidecar",
                "connect_timeout": "1s",
                "typed_extension_protocol_options": {
                    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                        "@type": http,
                        "explicit_http_config": {"http2_protocol_options": {}},
                    },
                },
                "load_assignment": {
                    "cluster_name": "sidecar",
                    "endpoints": [{"lb_endpoints": [{"endpoint": {
                        "address": {"pipe": {"path": sds_socket.to_string_lossy()}},
                    }}]}],
                },
            }],
        },
    })
}
