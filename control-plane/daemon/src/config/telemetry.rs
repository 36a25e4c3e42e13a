//! `[telemetry]`: probes, metrics and traces.

use std::net::SocketAddr;

use countersign_cli::{Key, Reader};
use countersign_model::address::check_http;
use countersign_serve::ops::{MAX_HOSTS, parse_host};
use serde::Serialize;

/// What the control plane tells about itself, and where.
#[derive(Clone, Debug, Serialize)]
pub struct Telemetry {
    /// `listen`: `/livez`, `/readyz` and `/metrics`, on loopback only.
    pub listen: SocketAddr,
    /// `otlp_endpoint`: where traces go by OTLP over gRPC; absent: nowhere.
    pub otlp_endpoint: Option<String>,
    /// `hosts`: whom metrics are told to besides loopback names, by the `Host` of a request.
    pub hosts: Vec<String>,
}

const LISTEN: Key = Key::new(
    "telemetry.listen",
    "Where probes and metrics are served over HTTP: `/livez`, `/readyz`, `/healthz`, `/metrics`.",
)
.within("loopback addresses");
const OTLP_ENDPOINT: Key = Key::new(
    "telemetry.otlp_endpoint",
    "Where traces are sent, by OTLP over gRPC. Nowhere if it is not set.",
)
.of("http or https URL");
const HOSTS: Key = Key::new(
    "telemetry.hosts",
    "By which names of this machine metrics may be asked for besides loopback names: the `Host` of a \
     request, without a port.",
)
.of("host names or IP addresses");

const HOSTS_REMEDY: &str = "write a list of at most 16 host names or IP addresses without ports, such as \
     [\"10.0.0.7\"]; leave it out where metrics are read on this machine";

impl Telemetry {
    pub(super) fn read(reader: &mut Reader) -> Option<Self> {
        let default = SocketAddr::from(([127, 0, 0, 1], 9464));
        let listen = reader.address(&LISTEN, default);
        if listen.is_some_and(|address| !address.ip().is_loopback()) {
            reader.mistake(
                LISTEN,
                "the metrics are not protected and the address is not loopback",
                "use 127.0.0.1 or [::1]",
            );
        }
        let otlp_endpoint = reader.optional(
            &OTLP_ENDPOINT,
            "write a URL such as \"http://127.0.0.1:4317\"",
            |text| {
                let checked = check_http(text);
                checked
                    .map(|()| text.to_owned())
                    .map_err(|error| error.to_string())
            },
        );
        let hosts = reader.list(&HOSTS, HOSTS_REMEDY, MAX_HOSTS, parse_host);
        Some(Self {
            listen: listen?,
            otlp_endpoint,
            hosts,
        })
    }
}
