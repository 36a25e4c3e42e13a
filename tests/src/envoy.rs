//! A real Envoy with a bootstrap from `deploy/envoy`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::{Process, binaries, fetch, ports, workload};

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

/// A running Envoy with one port that speaks HTTP and one that forwards bytes.
#[derive(Debug)]
pub struct Envoy {
    process: Process,
    admin: SocketAddr,
    http: SocketAddr,
    tcp: SocketAddr,
    access_log: PathBuf,
}

impl Envoy {
    /// One in front of a service.
    ///
    /// # Errors
    /// It cannot be started. It may not be ready yet.
    pub fn inbound(folder: &Path, bootstrap: &Bootstrap<'_>, service: SocketAddr) -> Result<Self> {
        let port = service.port().to_string();
        Self::start(folder, "inbound", bootstrap, &[("service_port", &port)])
    }

    /// One beside a client.
    ///
    /// # Errors
    /// It cannot be started. It may not be ready yet.
    pub fn outbound(
        folder: &Path,
        bootstrap: &Bootstrap<'_>,
        http_upstream: SocketAddr,
        tcp_upstream: SocketAddr,
    ) -> Result<Self> {
        let ports = [http_upstream, tcp_upstream].map(|address| address.port().to_string());
        let upstreams = [("http_upstream", &*ports[0]), ("tcp_upstream", &*ports[1])];
        Self::start(folder, "outbound", bootstrap, &upstreams)
    }

    fn start(
        folder: &Path,
        kind: &str,
        bootstrap: &Bootstrap<'_>,
        more: &[(&str, &str)],
    ) -> Result<Self> {
        let [admin, http, tcp] = std::array::from_fn(|_| ports::reserve());
        let name = format!("envoy-{kind}");
        let access_log = folder.join(format!("{name}-access.log"));
        let (http_listen, tcp_listen) = (http.port().to_string(), tcp.port().to_string());
        let (access_log_path, socket) = (
            access_log.to_string_lossy(),
            bootstrap.sds_socket.to_string_lossy(),
        );
        let (api_type, node_once) = match bootstrap.dialect {
            Dialect::StateOfTheWorld => ("GRPC", "false"),
            Dialect::Delta => ("DELTA_GRPC", "true"),
        };
        let mut values = vec![
            ("node", name.as_str()),
            ("sds_socket", &socket),
            ("identity", bootstrap.identity),
            ("bundle", bootstrap.bundle),
            ("peer", bootstrap.peer),
            ("api_type", api_type),
            ("node_once", node_once),
            ("http_listen", &http_listen),
            ("tcp_listen", &tcp_listen),
            ("access_log", &access_log_path),
        ];
        values.extend(more);
        let template = binaries::project().join(format!("deploy/envoy/{kind}.yaml"));
        let config = folder.join(format!("{name}.yaml"));
        std::fs::write(&config, fill(&std::fs::read_to_string(template)?, &values)?)?;
        Ok(Self {
            process: launch(folder, &name, &config, admin)?,
            admin,
            http,
            tcp,
            access_log,
        })
    }

    /// One with so many secrets, each the certificate of a filter chain, over streams of their own.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn with_secrets(folder: &Path, sds_socket: &Path, names: &[String]) -> Result<Self> {
        let [admin, tls] = std::array::from_fn(|_| ports::reserve());
        let config = folder.join("envoy-many.json");
        std::fs::write(&config, many_secrets(sds_socket, names, tls).to_string())?;
        Ok(Self {
            process: launch(folder, "envoy-many", &config, admin)?,
            admin,
            http: tls,
            tcp: tls,
            access_log: folder.join("envoy-many-access.log"),
        })
    }
    /// The process.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// The port that speaks HTTP.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// The port that forwards bytes.
    pub fn tcp(&self) -> SocketAddr {
        self.tcp
    }

    /// Waits until it is live and holds every secret that it subscribed to.
    ///
    /// # Errors
    /// It ended, or the bound passed.
    pub async fn ready(&self) -> Result<()> {
        self.process
            .wait_for("live Envoy with its secrets", async |_| {
                let (status, _) = fetch::get(self.admin, "/ready").await.ok()?;
                (status.is_success() && self.holds_secrets().await.ok()?).then_some(())
            })
            .await
    }

    /// The sum of all statistics whose name ends so.
    ///
    /// # Errors
    /// The admin port does not answer.
    pub async fn statistic(&self, suffix: &str) -> Result<u64> {
        let (_, text) = fetch::get(self.admin, "/stats").await?;
        let values = text.lines().filter_map(|line| line.split_once(": "));
        Ok(values
            .filter(|(name, _)| name.ends_with(suffix))
            .filter_map(|(_, value)| value.parse::<u64>().ok())
            .sum())
    }

    /// Waits until it has taken so many secrets.
    ///
    /// # Errors
    /// It ended, or the bound passed.
    pub async fn takes(&self, secrets: usize) -> Result<()> {
        let path = "/config_dump?resource=dynamic_active_secrets";
        self.process
            .wait_for("its secrets", async |_| {
                let (_, text) = fetch::get(self.admin, path).await.ok()?;
                let dump: Value = serde_json::from_str(&text).ok()?;
                (dump.get("configs")?.as_array()?.len() == secrets).then_some(())
            })
            .await
    }

    /// Serials (hex) that its peers presented, from its access log, in order of appearance.
    pub fn peer_serials(&self) -> Vec<String> {
        let log = std::fs::read_to_string(&self.access_log).unwrap_or_default();
        let serial = |line: &str| {
            let line: Value = serde_json::from_str(line).ok()?;
            Some(workload::serial(line.get("peer_serial")?.as_str()?))
        };
        let mut serials: Vec<_> = log.lines().filter_map(serial).collect();
        serials.dedup();
        serials
    }

    async fn holds_secrets(&self) -> Result<bool> {
        let (_, text) =
            fetch::get(self.admin, "/config_dump?resource=dynamic_warming_secrets").await?;
        let dump: Value = serde_json::from_str(&text)?;
        Ok(dump
            .get("configs")
            .and_then(Value::as_array)
            .is_none_or(Vec::is_empty))
    }
}

fn launch(folder: &Path, name: &str, config: &Path, admin: SocketAddr) -> Result<Process> {
    let port = admin.port();
    let admin_yaml = format!(
        "admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}}}"
    );
    let arguments = [
        "--config-path",
        &config.to_string_lossy(),
        "--config-yaml",
        &admin_yaml,
        "--use-dynamic-base-id",
        "--concurrency",
        "1",
        "--file-flush-interval-msec",
        "100",
        "--log-level",
        "warning",
    ];
    Process::start(name, &binaries::envoy()?, &arguments, folder)
}

/// A listener that chooses among certificates by the server name.
fn many_secrets(sds_socket: &Path, names: &[String], tls: SocketAddr) -> Value {
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

fn fill(template: &str, values: &[(&str, &str)]) -> Result<String> {
    let body = |line: &&str| !line.starts_with('#');
    let mut text = template.lines().filter(body).collect::<Vec<_>>().join("\n");
    for (name, value) in values {
        text = text.replace(&format!("{{{{{name}}}}}"), value);
    }
    let rest = text.split_once("{{").map(|(_, rest)| rest.lines().next());
    ensure!(rest.is_none(), "unfilled placeholder {rest:?}");
    Some(text).context("a bootstrap")
}

#[cfg(test)]
mod tests {
    use super::fill;

    #[test]
    fn every_placeholder_is_filled() {
        assert_eq!(fill("# {{a}}\nx: {{a}}", &[("a", "1")]).unwrap(), "x: 1");
    }

    #[test]
    fn a_forgotten_placeholder_is_named() {
        let error = fill("x: {{a}}", &[("b", "1")]).unwrap_err();
        assert!(error.to_string().contains("a}}"), "{error}");
    }
}
