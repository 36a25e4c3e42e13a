//! The only wiring: what is bound, what is spawned, in which order it ends.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use countersign_cli::{Exit, Failure};
use countersign_serve::limits::MAX_OPS_CONNECTIONS;
use countersign_serve::ops::Ops;
use countersign_serve::shutdown::Signals;
use countersign_serve::unix::{SocketModes, UnixSocket, bind_unix};
use countersign_serve::wire::Tcp;
use countersign_serve::{
    BindError, Counters, Descriptors, Limits, ListenerSeries, ServiceManager, bind_tcp, ops,
};
use countersign_telemetry::{LogSeries, Settings, Telemetry};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::config::Config;
use crate::consumers::Consumers;
use crate::consumers::kept::{self, CONSUMERS_FILE};
use crate::control::addresses::all_shown;
use crate::control::link_state::LinkState;
use crate::control::recognition::trust_by;
use crate::control::{Control, Parts};
use crate::entropy::Draws;
use crate::holdings::{Holdings, endings};
use crate::install::Installer;
use crate::lifecycle::{FAREWELL_DEADLINE, Readiness, SidecarOps, drain};
use crate::local_api::LocalApi;
use crate::local_socket::LocalSocket;
use crate::proxy::{self, Listening, Proxy};
use crate::state::{STATUS_SOCKET, StateDir, StateError};
use crate::status::{self, Report, Sources};
use crate::telemetry::{Counted, Metrics, WokenSeries};

/// Callers of the socket are attested, so everybody may connect.
const WORKLOAD_API_MODES: SocketModes = SocketModes {
    socket: 0o666,
    directory: 0o755,
};
const STATUS_MODES: SocketModes = SocketModes {
    socket: 0o600,
    directory: 0o700,
};

/// Runs a sidecar until it is told to end.
///
/// # Errors
/// Something that has to be had at start is not: nothing was started.
pub async fn run(config: Config) -> Result<Exit, Failure> {
    let logs = install_telemetry(&config)?;
    let state = StateDir::open(&config.state_dir).map_err(|error| state_failure(&error))?;
    let signals = Signals::listen().map_err(|error| bug(&error.to_string()))?;
    let sidecar = Sidecar::build(config, state)?;
    let ended = sidecar.run(signals).await;
    logs.shutdown().await;
    ended
}

fn install_telemetry(config: &Config) -> Result<Telemetry, Failure> {
    let json = config.log.json;
    let settings = Settings {
        service: "countersign-sidecar",
        json: json.unwrap_or_else(countersign_telemetry::json_suits),
        filter: config.log.filter.clone(),
        otlp_endpoint: config.telemetry.otlp_endpoint.clone(),
    };
    Telemetry::install(&settings).map_err(|error| {
        let remedy = "mend telemetry.otlp_endpoint";
        Failure::new(Exit::Usage, "telemetry", error.to_string(), remedy)
    })
}

/// A sidecar whose every listener is bound.
struct Sidecar {
    config: Config,
    clock: Clock,
    holdings: Arc<Holdings>,
    consumers: Arc<Consumers>,
    consumers_file: PathBuf,
    metrics: Arc<Metrics>,
    local_api: Arc<LocalApi>,
    local_socket: LocalSocket,
    workload_counters: Arc<Counters>,
    status_counters: Arc<Counters>,
    proxy: Proxy,
    control: Control,
    link: watch::Receiver<LinkState>,
    readiness: Readiness,
    ops_listener: TcpListener,
    workload_socket: UnixSocket,
    status_socket: UnixSocket,
}

impl Sidecar {
    fn build(config: Config, state: StateDir) -> Result<Self, Failure> {
        let (clock, holdings) = (Clock::of_system(), Holdings::new());
        let consumers = Arc::<Consumers>::default();
        let consumers_file = state.file(CONSUMERS_FILE);
        kept::restore(&consumers_file, &consumers, clock.now());
        let trust = trust_by(&clock);
        let local_api = LocalApi::new(
            holdings.clone(),
            consumers.clone(),
            &config.trust_domain,
            clock.clone(),
        );
        let local_socket = LocalSocket::new(Arc::clone(&local_api));
        let proxied = proxy::counters(config.inbound.len(), config.outbound.len());
        let (workload_counters, status_counters) = (Arc::default(), Arc::default());
        let own: [Counted; 2] = [
            ("workload_api".into(), Arc::clone(&workload_counters)),
            ("status".into(), Arc::clone(&status_counters)),
        ];
        let counted: Arc<[Counted]> = proxied.iter().cloned().chain(own).collect();
        let metrics = Arc::new(Metrics::with(
            config.telemetry.identity_labels,
            |registry| {
                local_socket.register_metrics(registry);
                let listeners = ListenerSeries::of(counted.iter().cloned());
                registry.register_collector(Box::new(listeners));
                registry.register_collector(Box::new(LogSeries));
                registry.register_collector(Box::new(WokenSeries(holdings.clone())));
            },
        ));
        let listeners = (&*config.inbound, &*config.outbound);
        let proxy = Proxy::bind(listeners, (&trust, clock.clone()), &metrics, proxied)
            .map_err(bind_failure)?;
        let ops_listener =
            bind_tcp(config.telemetry.listen, "telemetry.listen").map_err(bind_failure)?;
        let workload_socket = bind_unix(
            &config.workload_api.socket,
            WORKLOAD_API_MODES,
            "workload_api.socket",
        )
        .map_err(bind_failure)?;
        let status_socket = bind_unix(&state.file(STATUS_SOCKET), STATUS_MODES, "state_dir")
            .map_err(bind_failure)?;
        let installer = Installer::restore(
            config.trust_domain.clone(),
            state,
            holdings.clone(),
            trust.clone(),
        )
        .map_err(|error| {
            let remedy = "restore the file, or remove it and attest again with a new token";
            Failure::new(Exit::Usage, "state_dir", error.to_string(), remedy)
        })?;
        let parts = Parts {
            installer,
            holdings: holdings.clone(),
            consumers: consumers.clone(),
            served: proxy.identities().served(),
            trust,
            metrics: metrics.clone(),
            clock: clock.clone(),
            draws: Draws::of_system(),
            network: Arc::new(Tcp),
        };
        let control = Control::new(&config, parts, clock.now());
        let link = control.state();
        let readiness = Readiness {
            holdings: holdings.clone(),
            identities: proxy.identities().clone(),
            link: link.clone(),
            listeners: counted,
        };
        Ok(Self {
            config,
            clock,
            holdings,
            consumers,
            consumers_file,
            metrics,
            local_api,
            local_socket,
            workload_counters,
            status_counters,
            proxy,
            control,
            link,
            readiness,
            ops_listener,
            workload_socket,
            status_socket,
        })
    }

    /// The socket gets as much as a listener of the proxy, and some for users without an identity.
    fn workload_limits(&self, descriptors: &mut Descriptors) -> Limits {
        let usual = Limits::default();
        let strangers = self.config.workload_api.max_strangers;
        let max_strangers = descriptors.small("workload_api strangers", strangers);
        let large = 1 + self.proxy.listening().len();
        Limits {
            max_connections: descriptors.large("workload_api", usual.max_connections, 1, large),
            max_strangers,
            max_connections_per_uid: self.config.workload_api.max_connections_per_uid,
            ..usual
        }
    }

    /// The listeners that are none of the proxy's.
    fn other_listeners(&self) -> Vec<(&'static str, String)> {
        let ops = self.ops_listener.local_addr();
        let ops = ops.map_or_else(|error| error.to_string(), |address| address.to_string());
        let socket = self.config.workload_api.socket.display().to_string();
        vec![("telemetry", ops), ("workload_api", socket)]
    }

    async fn run(self, signals: Signals) -> Result<Exit, Failure> {
        let mut descriptors = Descriptors::of_process();
        let telemetry = descriptors.small("telemetry", MAX_OPS_CONNECTIONS);
        let status = descriptors.small("status", status::MAX_CONNECTIONS);
        let workloads = self.workload_limits(&mut descriptors);
        let stop = CancellationToken::new();
        let connections = TaskTracker::new();
        let mut services = JoinSet::new();
        let others = self.other_listeners();
        for (listener, address) in &others {
            tracing::info!(listener, address, "listening");
        }
        services.spawn(status::serve(
            (self.status_socket, status, self.status_counters),
            reporter(
                (&self.config, self.clock.clone()),
                self.link,
                self.holdings.clone(),
                (self.proxy.listening(), others),
                self.readiness.clone(),
            ),
        ));
        let probes: Arc<dyn Ops> = Arc::new(SidecarOps {
            readiness: self.readiness,
            holdings: self.holdings.clone(),
            metrics: self.metrics,
            clock: self.clock.clone(),
            names: self.config.telemetry.identity_labels,
        });
        let hosts = self.config.telemetry.hosts.clone();
        let served = ops::serve(self.ops_listener, Arc::clone(&probes), telemetry, hosts);
        services.spawn(served);
        let workloads = (workloads, self.workload_counters);
        let callers = TaskTracker::new();
        let serving = self.local_socket.serve(self.workload_socket, workloads);
        services.spawn(callers.track_future(serving));
        let identities = self.proxy.identities().clone();
        let ends = self.holdings.clone();
        services.spawn(kept::keep(self.consumers_file, self.consumers.clone()));
        services.spawn(identities.follow(self.holdings, self.consumers));
        services.spawn(endings::tell(ends, self.clock.clone()));
        services.spawn(self.control.run());
        self.proxy.start(&mut descriptors, &stop, &connections);
        descriptors.tell();
        let manager = ServiceManager::of_process();
        if let Some(manager) = manager.clone() {
            services.spawn(manager.keep(probes, stop.clone()));
        }

        tokio::select! {
            signal = signals.told_to_end() => tracing::info!(signal, "ending"),
            Some(ended) = services.join_next() => {
                let why = ended.err().map_or("it ended".to_owned(), |error| error.to_string());
                return Err(bug(&format!("a service of the sidecar stopped: {why}")));
            }
        }
        stop.cancel();
        if let Some(manager) = &manager {
            manager.ending(self.config.drain_timeout).await;
        }
        drain(&connections, self.config.drain_timeout).await;
        // Workloads keep their streams until nothing is carried any more.
        self.local_api.stop();
        callers.close();
        let farewell = self.config.drain_timeout.min(FAREWELL_DEADLINE);
        // Who does not read that it ends is cut.
        let _ = tokio::time::timeout(farewell, callers.wait()).await;
        services.shutdown().await;
        Ok(Exit::Yes)
    }
}

fn reporter(
    (config, clock): (&Config, Clock),
    link: watch::Receiver<LinkState>,
    holdings: Arc<Holdings>,
    (listeners, others): (Vec<Listening>, Vec<(&'static str, String)>),
    readiness: Readiness,
) -> impl Fn() -> Report + Send + Sync + use<> + 'static {
    let address = all_shown(&config.control_plane.addresses);
    let enrol_ahead = config.workload_api.enrol_ahead;
    let demanded = holdings.demanded();
    move || {
        let now = clock.now();
        let sources = Sources {
            address: address.clone(),
            link: link.borrow().clone(),
            snapshot: &holdings.load(),
            demanded: &demanded.borrow(),
            enrol_ahead,
            listeners: &listeners,
            others: &others,
            counted: &readiness.listeners,
            not_ready: readiness.missing(now).named(),
            degraded: readiness.degraded().named(),
        };
        Report::at(sources, now)
    }
}

/// The second sidecar of a machine meets the first at the default.
const PORT_EACH: &str = "give each sidecar of this machine a telemetry.listen of its own, such as \
     \"127.0.0.1:9466\"";

#[allow(
    clippy::needless_pass_by_value,
    reason = "the shape that `map_err` calls"
)]
fn bind_failure(error: BindError) -> Failure {
    let is_taken = error.source.kind() == io::ErrorKind::AddrInUse;
    let remedy = match error.setting.as_str() {
        "telemetry.listen" if is_taken => PORT_EACH.to_owned(),
        _ => error.remedy(),
    };
    Failure::new(Exit::Usage, "bind", error.to_string(), remedy)
}

fn state_failure(error: &StateError) -> Failure {
    let remedy = match error {
        StateError::NotOurs(not_ours) => not_ours.remedy("state_dir"),
        StateError::InUse(_) => "give each sidecar a state_dir of its own".to_owned(),
        _ => "make state_dir writable for the user of the sidecar".to_owned(),
    };
    Failure::new(Exit::Usage, "state_dir", error.to_string(), remedy)
}

fn bug(message: &str) -> Failure {
    let remedy = "this is a bug of countersign: please report it with this message";
    Failure::new(Exit::Bug, "bug", message, remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_sidecar_is_told_to_take_another_port() {
        let failure = |setting: &str, kind: io::ErrorKind| {
            bind_failure(BindError {
                setting: setting.to_owned(),
                address: "127.0.0.1:9465".to_owned(),
                source: kind.into(),
            })
        };
        let taken = failure("telemetry.listen", io::ErrorKind::AddrInUse);
        assert!(taken.remedy.contains("each sidecar"), "{}", taken.remedy);
        assert!(taken.message.contains("127.0.0.1:9465"), "{taken}");
        for other in [
            failure("telemetry.listen", io::ErrorKind::PermissionDenied),
            failure("workload_api.socket", io::ErrorKind::AddrInUse),
        ] {
            assert!(!other.remedy.contains("each sidecar"), "{}", other.remedy);
        }
    }
}
