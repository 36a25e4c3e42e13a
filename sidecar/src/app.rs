//! The only wiring: what is bound, what is spawned, in which order it ends.

use std::sync::Arc;

use countersign_cli::{Exit, Failure};
use countersign_serve::ops::Ops;
use countersign_serve::unix::{SocketModes, bind_unix, incoming_within};
use countersign_serve::{BindError, Counters, Limits, ListenerSeries, bind_tcp, grpc, ops};
use countersign_telemetry::{LogSeries, Settings, Telemetry};
use countersign_verify::tls::TrustCell;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock;
use crate::config::Config;
use crate::consumers::Consumers;
use crate::control::addresses::Addresses;
use crate::control::link_state::LinkState;
use crate::control::{Control, Parts};
use crate::holdings::Holdings;
use crate::install::Installer;
use crate::lifecycle::{Readiness, drain, told_to_end};
use crate::local_api::{LocalApi, recognised};
use crate::proxy::{Listening, Proxy};
use crate::state::{StateDir, StateError};
use crate::status::{self, Report, Sources};
use crate::telemetry::{Metrics, SidecarOps};

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
    let sidecar = Sidecar::build(config, state)?;
    let ended = sidecar.run().await;
    logs.shutdown().await;
    ended
}

fn install_telemetry(config: &Config) -> Result<Telemetry, Failure> {
    let settings = Settings {
        service: "countersign-sidecar",
        json: config.log.json,
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
    holdings: Arc<Holdings>,
    consumers: Arc<Consumers>,
    metrics: Arc<Metrics>,
    local_api: Arc<LocalApi>,
    workload_counters: Arc<Counters>,
    proxy: Proxy,
    control: Control,
    link: watch::Receiver<LinkState>,
    readiness: Readiness,
    ops_listener: TcpListener,
    workload_socket: UnixListener,
    status_socket: UnixListener,
}

impl Sidecar {
    fn build(config: Config, state: StateDir) -> Result<Self, Failure> {
        let holdings = Holdings::new();
        let consumers = Arc::<Consumers>::default();
        let trust = TrustCell::new([].into_iter().collect());
        let local_api = LocalApi::new(
            holdings.clone(),
            consumers.clone(),
            &config.trust_domain,
            clock::now,
        );
        let workload_counters = Arc::<Counters>::default();
        let metrics = Arc::new(Metrics::with(
            config.telemetry.identity_labels,
            |registry| {
                local_api.register_metrics(registry);
                let listeners = ListenerSeries::of([("workload_api", workload_counters.clone())]);
                registry.register_collector(Box::new(listeners));
                registry.register_collector(Box::new(LogSeries));
            },
        ));
        let proxy = Proxy::bind(&config.inbound, &config.outbound, &trust, &metrics)
            .map_err(bind_failure)?;
        let ops_listener =
            bind_tcp(config.telemetry.listen, "telemetry.listen").map_err(bind_failure)?;
        let workload_socket = bind_unix(
            &config.workload_api.socket,
            WORKLOAD_API_MODES,
            "workload_api.socket",
        )
        .map_err(bind_failure)?;
        let status_socket = bind_unix(&state.file(status::SOCKET), STATUS_MODES, "state_dir")
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
        };
        let control = Control::new(&config, parts, clock::now());
        let link = control.state();
        let readiness = Readiness {
            holdings: holdings.clone(),
            identities: proxy.identities().clone(),
            link: link.clone(),
        };
        Ok(Self {
            config,
            holdings,
            consumers,
            metrics,
            local_api,
            workload_counters,
            proxy,
            control,
            link,
            readiness,
            ops_listener,
            workload_socket,
            status_socket,
        })
    }

    /// The listeners that are none of the proxy's.
    fn other_listeners(&self) -> Vec<(&'static str, String)> {
        let ops = self.ops_listener.local_addr();
        let ops = ops.map_or_else(|error| error.to_string(), |address| address.to_string());
        let socket = self.config.workload_api.socket.display().to_string();
        vec![("telemetry", ops), ("workload_api", socket)]
    }

    async fn run(self) -> Result<Exit, Failure> {
        let stop = CancellationToken::new();
        let connections = TaskTracker::new();
        let mut services = JoinSet::new();
        let others = self.other_listeners();
        for (listener, address) in &others {
            tracing::info!(listener, address, "listening");
        }
        services.spawn(status::serve(
            self.status_socket,
            reporter(
                &self.config,
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
        });
        services.spawn(ops::serve(self.ops_listener, probes));
        services.spawn(serve_workloads(
            self.workload_socket,
            self.local_api,
            self.workload_counters,
        ));
        let identities = self.proxy.identities().clone();
        services.spawn(identities.follow(self.holdings, self.consumers));
        services.spawn(self.control.run());
        self.proxy.start(&stop, &connections);

        tokio::select! {
            signal = told_to_end() => {
                let signal = signal.map_err(|error| bug(&error.to_string()))?;
                tracing::info!(signal, "ending");
            }
            Some(ended) = services.join_next() => {
                let why = ended.err().map_or("it ended".to_owned(), |error| error.to_string());
                return Err(bug(&format!("a service of the sidecar stopped: {why}")));
            }
        }
        stop.cancel();
        drain(&connections, self.config.drain_timeout).await;
        // Workloads keep their streams until nothing is carried any more.
        services.shutdown().await;
        // Best effort: a socket file that stays is found stale at the next start.
        let _ = std::fs::remove_file(&self.config.workload_api.socket);
        let _ = std::fs::remove_file(self.config.state_dir.join(status::SOCKET));
        Ok(Exit::Yes)
    }
}

/// Serves SDS and the Workload API from the start. Until it is known who may have what, nobody is
/// told that it has no identity: a Workload API call waits and is then told UNAVAILABLE, and an
/// Envoy's names are absent until they come.
async fn serve_workloads(listener: UnixListener, api: Arc<LocalApi>, counters: Arc<Counters>) {
    let (sds, workload) = api.services();
    let connections = incoming_within(listener, |_| true, Limits::default(), counters);
    let serving = grpc::local_server(api.messages())
        .add_service(sds)
        .add_service(workload)
        .serve_with_incoming(recognised(connections));
    if let Err(error) = serving.await {
        tracing::error!(%error, "the workload socket stopped");
    }
}

fn reporter(
    config: &Config,
    link: watch::Receiver<LinkState>,
    holdings: Arc<Holdings>,
    (listeners, others): (Vec<Listening>, Vec<(&'static str, String)>),
    readiness: Readiness,
) -> impl Fn() -> Report + Send + Sync + use<> + 'static {
    let address = Addresses::new(config.control_plane.addresses.clone()).to_string();
    let enrol_ahead = config.workload_api.enrol_ahead;
    let demanded = holdings.demanded();
    move || {
        let now = clock::now();
        let sources = Sources {
            address: address.clone(),
            link: link.borrow().clone(),
            snapshot: &holdings.load(),
            demanded: &demanded.borrow(),
            enrol_ahead,
            listeners: &listeners,
            others: &others,
            not_ready: readiness.missing(now),
            degraded: readiness.degraded(),
        };
        Report::at(sources, now)
    }
}

#[allow(
    clippy::needless_pass_by_value,
    reason = "the shape that `map_err` calls"
)]
fn bind_failure(error: BindError) -> Failure {
    let remedy = format!("free the address, or change {}", error.setting);
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
