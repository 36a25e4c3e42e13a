//! The sections that a configuration has once.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use countersign_cli::{Key, Reader};
use countersign_model::address::{HttpsAddress, check_http};
use countersign_proto::convert::addresses::MAX_ADDRESSES;
use countersign_serve::limits::{MAX_CONNECTIONS, MAX_CONNECTIONS_PER_UID, MAX_LOCAL_STRANGERS};
use countersign_serve::ops::{MAX_HOSTS, parse_host};

/// Identities that are enrolled before anybody asks for them, where `enrol_ahead` is not set.
pub(crate) const DEFAULT_ENROL_AHEAD: u64 = 64;
/// `max_strangers` where it is not set: every pod of a node, which at most 250 are, while the sidecar
/// does not know yet who may have what. They cost 10 MB while they do no harm.
pub(crate) const DEFAULT_MAX_STRANGERS: u64 = MAX_LOCAL_STRANGERS as u64;
/// Largest `enrol_ahead`.
const MAX_ENROL_AHEAD: u64 = 16_384;
/// `telemetry.listen` where it is not set: beside the control plane's 9464, so that both run on one
/// machine, and fixed, so that a Prometheus finds it.
const DEFAULT_TELEMETRY_PORT: u16 = 9_465;
const ADDRESS: Key = Key::new(
    "control_plane.address",
    "Where the control plane is. Either this or `control_plane.addresses` has to be written.",
)
.of("https://host:port");
const ADDRESSES: Key = Key::new(
    "control_plane.addresses",
    "Where the control planes of the trust domain are, where there are several. The sidecar is connected \
     to one of them, and to another where that fails.",
)
.of("https://host:port");
const ADDRESSES_REMEDY: &str = "write address = \"https://host:port\" for one control plane, or for several \
     addresses = [\"https://a:8443\", \"https://b:8443\"], at most 16";
const BUNDLE: Key = Key::new(
    "control_plane.bundle",
    "A PEM file with the roots that recognise the control plane at the first contact. Later the \
     newest bundle in `state_dir` does.",
);
const SOCKET: Key = Key::new(
    "workload_api.socket",
    "The Unix socket that serves the SPIFFE Workload API and Envoy SDS. Everybody may connect; who \
     is given what, the registrations say.",
);
const ENROL_AHEAD: Key = Key::new(
    "workload_api.enrol_ahead",
    "How many identities are enrolled before anybody asks for them. Those beyond it are enrolled \
     when somebody first asks.",
);
const MAX_STRANGERS: Key = Key::new(
    "workload_api.max_strangers",
    "Open connections of all users together who may have no identity. Everybody is one of them \
     until the control plane has said who may.",
);
const CONNECTIONS_PER_UID: Key = Key::new(
    "workload_api.max_connections_per_uid",
    "Open connections of one user who may have an identity.",
);
const FORMAT: Key = Key::new(
    "log.format",
    "The form of a log line on stderr: a JSON object, or text for people. With `auto` it is text on a \
     terminal, and JSON elsewhere.",
);
const FILTER: Key = Key::new(
    "log.filter",
    "Which lines are written: `error`, `warn`, `info`, `debug` or `trace`, also for one crate, as in \
     `info,countersign_sidecar=debug`.",
)
.of("filter directives");
const LISTEN: Key = Key::new(
    "telemetry.listen",
    "Where probes and metrics are served over HTTP: `/livez`, `/readyz`, `/healthz`, `/metrics`. \
     Several sidecars of one machine need a port each.",
)
.within("loopback addresses");
const OTLP_ENDPOINT: Key = Key::new(
    "telemetry.otlp_endpoint",
    "Where traces are sent, by OTLP over gRPC. Nowhere if it is not set.",
)
.of("http or https URL");
const IDENTITY_LABELS: Key = Key::new(
    "telemetry.identity_labels",
    "Whether metrics and the reasons of `/readyz` name SPIFFE IDs, which every process of the \
     machine can read then.",
);
const HOSTS: Key = Key::new(
    "telemetry.hosts",
    "By which names of this machine metrics may be asked for besides loopback names: the `Host` of a \
     request, without a port.",
)
.of("host names or IP addresses");

const HOSTS_REMEDY: &str = "write a list of at most 16 host names or IP addresses without ports, such as \
     [\"10.0.0.7\"]; leave it out where metrics are read on this machine";

/// `[control_plane]`: where it is and how it is recognised the first time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ControlPlane {
    /// `address` or `addresses`: `https://host:port`, without path or query, none twice. Never empty.
    pub(crate) addresses: Vec<HttpsAddress>,
    /// `bundle`: PEM roots for the first attestation; the newest bundle in `state_dir` comes
    /// first wherever there is one.
    pub(crate) bundle: Option<PathBuf>,
}

impl ControlPlane {
    pub(super) fn read(reader: &mut Reader) -> Option<Self> {
        let addresses = reader.one_or_several(
            (&ADDRESS, &ADDRESSES),
            ADDRESSES_REMEDY,
            MAX_ADDRESSES,
            |text| {
                text.parse::<HttpsAddress>()
                    .map_err(|error| error.to_string())
            },
        );
        for (index, address) in addresses.iter().enumerate() {
            if addresses[..index].contains(address) {
                let problem = format!("names {address} twice");
                reader.mistake(ADDRESSES, problem, "name each control plane once");
            }
        }
        let bundle = reader.path(&BUNDLE, None);
        Some(Self { addresses, bundle })
    }
}

/// `[workload_api]`: the socket for SPIFFE Workload API and Envoy SDS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WorkloadApi {
    /// `socket`.
    pub(crate) socket: PathBuf,
    /// `enrol_ahead`: how many identities are enrolled before anybody asks for them. Those beyond
    /// it are enrolled when they are first asked for.
    pub(crate) enrol_ahead: usize,
    /// `max_strangers`: connections open at once of all users together who may have no identity.
    pub(crate) max_strangers: usize,
    /// `max_connections_per_uid`: connections open at once of one user who may have an identity.
    pub(crate) max_connections_per_uid: usize,
}

impl WorkloadApi {
    pub(super) fn read(reader: &mut Reader) -> Option<Self> {
        let socket = reader.socket(&SOCKET, reader.beside("sidecar.sock"));
        let enrol_ahead = reader.integer(&ENROL_AHEAD, DEFAULT_ENROL_AHEAD, 0..=MAX_ENROL_AHEAD);
        let max_strangers = reader.integer(
            &MAX_STRANGERS,
            DEFAULT_MAX_STRANGERS,
            1..=MAX_CONNECTIONS as u64,
        );
        let max_connections_per_uid = reader.integer(
            &CONNECTIONS_PER_UID,
            MAX_CONNECTIONS_PER_UID as u64,
            1..=MAX_CONNECTIONS as u64,
        );
        Some(Self {
            socket: socket?,
            enrol_ahead: usize::try_from(enrol_ahead).expect("at most MAX_ENROL_AHEAD"),
            max_strangers: usize::try_from(max_strangers).expect("at most MAX_CONNECTIONS"),
            max_connections_per_uid: usize::try_from(max_connections_per_uid)
                .expect("at most MAX_CONNECTIONS"),
        })
    }
}

/// `[log]`: how this process logs, to stderr.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Log {
    /// `format`: whether JSON; where it is `"auto"`, what stderr is decides.
    pub(crate) json: Option<bool>,
    /// `filter`: directives such as `info` or `countersign_sidecar=debug`.
    pub(crate) filter: String,
}

impl Log {
    pub(super) fn read(reader: &mut Reader) -> Self {
        let choices = [("auto", None), ("json", Some(true)), ("text", Some(false))];
        let remedy = "write \"json\", \"text\", or \"auto\" for text on a terminal alone";
        let json = reader.choice(&FORMAT, None, &choices, remedy);
        let remedy = "write \"info\" or \"debug\"";
        let filter = reader.text(&FILTER, "info", remedy, |text| {
            countersign_telemetry::check_filter(text).map_err(|error| error.to_string())
        });
        Self { json, filter }
    }
}

/// `[telemetry]`: metrics, probes and traces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Telemetry {
    /// `listen`: `/livez`, `/readyz`, `/metrics`; loopback only.
    pub(crate) listen: SocketAddr,
    /// `otlp_endpoint`: where traces go; none are exported without it.
    pub(crate) otlp_endpoint: Option<String>,
    /// `identity_labels`: whether metrics and the reasons of `/readyz` name SPIFFE IDs. Any local
    /// process may read them, and who runs here is nothing that it needs to know: false by default.
    pub(crate) identity_labels: bool,
    /// `hosts`: whom metrics are told to besides loopback names, by the `Host` of a request; none by
    /// default.
    pub(crate) hosts: Vec<String>,
}

impl Telemetry {
    pub(super) fn read(reader: &mut Reader) -> Option<Self> {
        let default = SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_TELEMETRY_PORT));
        let listen = reader.address(&LISTEN, default);
        if listen.is_some_and(|address| !address.ip().is_loopback()) {
            reader.mistake(
                LISTEN,
                "is not a loopback address: probes and metrics have no authentication",
                "write \"127.0.0.1:9465\", or another loopback address",
            );
        }
        let otlp_endpoint = reader.optional(
            &OTLP_ENDPOINT,
            "write a URL such as \"http://127.0.0.1:4317\"",
            parse_endpoint,
        );
        let identity_labels = reader.boolean(&IDENTITY_LABELS, false);
        let hosts = reader.list(&HOSTS, HOSTS_REMEDY, MAX_HOSTS, parse_host);
        Some(Self {
            listen: listen?,
            otlp_endpoint,
            identity_labels,
            hosts,
        })
    }
}

fn parse_endpoint(text: &str) -> Result<String, String> {
    let checked = check_http(text);
    checked
        .map(|()| text.to_owned())
        .map_err(|error| error.to_string())
}
