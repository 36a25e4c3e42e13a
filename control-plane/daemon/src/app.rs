//! The wiring: from a configuration to listeners that serve, and down again. The only place where
//! the parts meet.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use countersign_admission::Gate;
#[doc(hidden)]
pub use countersign_authority::SharedDatabase;
use countersign_authority::{Authority, AuthorityError};
use countersign_cli::{Exit, Failure};
use countersign_fleet::Fleet;
use countersign_fleet::rotation::Rotation;
use countersign_model::entropy::Entropy;
use countersign_proto::KEY_PROOF_EXPORTER;
use countersign_serve::grpc::Connection;
use countersign_serve::limits::{MAX_OPERATOR_CONNECTIONS, MAX_OPS_CONNECTIONS};
use countersign_serve::tls::TlsService;
use countersign_serve::unix::{SocketModes, UnixPeer, UnixSocket, bind_unix};
use countersign_serve::wire::Listen;
use countersign_serve::{
    BindError, Descriptors, Limits, ServiceManager, bind_tcp, grpc, ops, tls, unix,
};
use tokio::net::TcpListener;
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::mesh::ServerTls;
use crate::api::{admin, mesh};
use crate::clock::Clock;
use crate::config::Config;
use crate::lifecycle;
use crate::ops::Readiness;
use crate::plane::Plane;
use crate::spread::Spread;
use crate::telemetry::Metrics;

const ADMIN_MODES: SocketModes = SocketModes {
    socket: 0o600,
    directory: 0o700,
};

/// Why the control plane did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A port or socket cannot be had.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// An address cannot be told.
    #[error("a listener has no address: {0}")]
    Address(#[from] io::Error),
    /// State or keys cannot be used.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
}

/// The ports and sockets, bound before anything is served.
struct Listeners {
    api: TcpListener,
    admin: UnixSocket,
    telemetry: TcpListener,
}

/// How many connections each listener may have.
struct Caps {
    api: Limits,
    admin: Limits,
    telemetry: usize,
}

impl Caps {
    /// As many as usual, or as the limit of the process leaves: then the log says so.
    fn share(descriptors: &mut Descriptors) -> Self {
        let usual = Limits::default();
        let telemetry = descriptors.small("telemetry", MAX_OPS_CONNECTIONS);
        let admin = descriptors.small("admin", MAX_OPERATOR_CONNECTIONS);
        let handshakes = descriptors.small("handshakes", usual.max_pending_handshakes);
        let strangers = descriptors.small("strangers", usual.max_strangers);
        let nodes = descriptors.large("nodes", usual.max_connections, 1, 1);
        descriptors.tell();
        Self {
            api: Limits {
                max_pending_handshakes: handshakes,
                max_strangers: strangers,
                max_connections: nodes,
                ..usual
            },
            admin: Limits {
                max_connections: admin,
                ..usual
            },
            telemetry,
        }
    }
}

/// A running control plane.
#[derive(Debug)]
pub struct Running {
    plane: Arc<Plane>,
    manager: Option<ServiceManager>,
    abandon: CancellationToken,
}

/// Opens the state, binds, and serves.
///
/// # Errors
/// Nothing serves then.
pub async fn start(
    config: &Config,
    clock: Clock,
    entropy: Arc<dyn Entropy>,
) -> Result<Running, StartError> {
    let authority = Authority::open(config.authority(entropy), clock.now()).await?;
    let listeners = Listeners::bind(config)?;
    let addresses = listeners.addresses()?;
    let (running, tls) = Running::begin(config, (authority, clock), addresses).await?;
    running.serve(listeners, tls, config);
    Ok(running)
}

/// As [`start`], without the kernel's network: sidecars and operators come from elsewhere, and nobody
/// is told of metrics; and with a database, where one is given, in the place of the one at `store.url`.
/// For the simulation.
///
/// # Errors
/// As [`start`].
#[doc(hidden)]
pub async fn start_on<A: Connection<Peer = UnixPeer>>(
    config: &Config,
    (clock, entropy): (Clock, Arc<dyn Entropy>),
    database: Option<Arc<dyn SharedDatabase>>,
    api: impl Listen,
    admin: impl Stream<Item = io::Result<A>> + Send + 'static,
) -> Result<Running, StartError> {
    let authority = Authority::open_in(config.authority(entropy), database, clock.now()).await?;
    let addresses = (config.api.listen, config.telemetry.listen);
    let (running, tls) = Running::begin(config, (authority, clock), addresses).await?;
    running.serve_api(api, tls, Limits::default());
    running.serve_admin(admin);
    Ok(running)
}

impl Listeners {
    fn bind(config: &Config) -> Result<Self, BindError> {
        Ok(Self {
            api: bind_tcp(config.api.listen, "api.listen")?,
            admin: bind_unix(&config.admin.socket, ADMIN_MODES, "admin.socket")?,
            telemetry: bind_tcp(config.telemetry.listen, "telemetry.listen")?,
        })
    }

    /// Of the sidecar API and of the metrics.
    fn addresses(&self) -> io::Result<(SocketAddr, SocketAddr)> {
        Ok((self.api.local_addr()?, self.telemetry.local_addr()?))
    }
}

impl Running {
    /// Everything but the listeners, and what the one of the sidecar API presents.
    async fn begin(
        config: &Config,
        (authority, clock): (Arc<Authority>, Clock),
        (api_address, telemetry_address): (SocketAddr, SocketAddr),
    ) -> Result<(Self, Arc<rustls::ServerConfig>), StartError> {
        let now = clock.now();
        let tls = ServerTls::new(authority.clone(), clock.clone());
        let tls_changes = authority.changes();
        let lifetime = tls.begin().await?;
        let metrics = Metrics::default();
        let admission = &config.admission;
        let plane = Arc::new(Plane {
            hub: authority.hub().clone(),
            authority,
            spread: Spread::default(),
            signing: Gate::new(admission.signing(), metrics.signing()),
            attesting: Gate::new(admission.attesting(), metrics.attesting()),
            fleet: Fleet::default(),
            rotation: Rotation::default(),
            refusals: Mutex::default(),
            metrics,
            clock,
            started_at: now,
            api_address,
            telemetry_address,
            stopping: CancellationToken::new(),
            out: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        let running = Self {
            plane: plane.clone(),
            manager: None,
            abandon: CancellationToken::new(),
        };
        let server = tls.config();
        running.background(tls.keep(lifetime, tls_changes));
        running.background(lifecycle::keep_time(plane.clone()));
        running.background(lifecycle::keep_streams(plane.clone()));
        running.background(lifecycle::keep_log(plane.clone()));
        running.background(lifecycle::keep_gate(plane.clone()));
        running.background(lifecycle::keep_keys(plane));
        Ok((running, server))
    }

    /// Where the sidecar API listens.
    pub fn api_address(&self) -> SocketAddr {
        self.plane.api_address
    }

    /// What the services share.
    #[cfg(test)]
    pub(crate) fn plane(&self) -> &Arc<Plane> {
        &self.plane
    }

    /// Where probes and metrics are served.
    pub fn telemetry_address(&self) -> SocketAddr {
        self.plane.telemetry_address
    }

    /// Tells the service manager, where there is one, that all is served, and how it goes.
    pub fn tell(&mut self, manager: Option<ServiceManager>) {
        if let Some(manager) = manager.clone() {
            let readiness = Arc::new(Readiness(self.plane.clone()));
            self.background(manager.keep(readiness, self.plane.stopping.clone()));
        }
        self.manager = manager;
    }

    /// Ends: no new calls, streams are closed with UNAVAILABLE, then whatever is left is cut.
    pub async fn drain(self) {
        self.plane.stopping.cancel();
        self.plane.tasks.close();
        if let Some(manager) = &self.manager {
            manager.ending(lifecycle::DRAIN_DEADLINE).await;
        }
        let ended = tokio::time::timeout(lifecycle::DRAIN_DEADLINE, self.plane.tasks.wait());
        if ended.await.is_err() {
            let count = self.plane.tasks.len();
            tracing::warn!(count, "tasks cut at the end of the drain");
        }
        self.abandon.cancel();
        if let Err(error) = self.plane.authority.flush(self.plane.clock.now()).await {
            tracing::error!(error = %error, "state not flushed");
        }
    }

    /// Ends as a process does that is killed: nothing is finished, and nobody is told.
    #[doc(hidden)]
    pub fn abandon(self) {
        self.abandon.cancel();
    }

    fn serve(&self, listeners: Listeners, tls: Arc<rustls::ServerConfig>, config: &Config) {
        let plane = &self.plane;
        let Listeners {
            api,
            admin,
            telemetry,
        } = listeners;
        let caps = Caps::share(&mut Descriptors::of_process());
        listening("api", plane.api_address);
        self.serve_api(api, tls, caps.api);

        listening("admin", config.admin.socket.display());
        let counters = plane.metrics.admin.clone();
        self.serve_admin(unix::incoming(admin, admin::admits, caps.admin, counters));

        listening("telemetry", plane.telemetry_address);
        let readiness = Arc::new(Readiness(plane.clone()));
        let hosts = config.telemetry.hosts.clone();
        self.background(ops::serve(telemetry, readiness, caps.telemetry, hosts));
    }

    fn serve_api(&self, api: impl Listen, tls: Arc<rustls::ServerConfig>, limits: Limits) {
        let plane = &self.plane;
        let offered = mesh::Api::new(plane);
        let server = grpc::Server::new(offered.messages)
            .add_service(offered.mesh)
            .add_service(offered.attestation);
        let service = TlsService {
            standing: Arc::new(mesh::standing(plane)),
            limits,
            counters: plane.metrics.api.clone(),
            ..TlsService::new(tls, KEY_PROOF_EXPORTER)
        };
        let incoming = tls::incoming(api, service);
        let stop = plane.stopping.clone().cancelled_owned();
        self.until_drained("api", server.serve_until(incoming, stop));
    }

    fn serve_admin<C: Connection<Peer = UnixPeer>>(
        &self,
        incoming: impl Stream<Item = io::Result<C>> + Send + 'static,
    ) {
        let plane = &self.plane;
        let server = grpc::Server::new(admin::messages()).add_service(admin::service(plane));
        let stop = plane.stopping.clone().cancelled_owned();
        self.until_drained("admin", server.serve_until(incoming, stop));
    }

    /// A server that is waited for at the end.
    fn until_drained(&self, name: &'static str, server: impl Future<Output = ()> + Send + 'static) {
        let abandon = self.abandon.clone();
        let stopping = self.plane.stopping.clone();
        self.plane.tasks.spawn(async move {
            tokio::select! {
                () = server => if !stopping.is_cancelled() {
                    tracing::error!(name, "server ended");
                },
                () = abandon.cancelled() => {}
            }
        });
    }

    /// A task that is simply cut at the end.
    fn background(&self, task: impl Future<Output = ()> + Send + 'static) {
        let abandon = self.abandon.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = task => {}
                () = abandon.cancelled() => {}
            }
        });
    }
}

fn listening(name: &str, address: impl std::fmt::Display) {
    tracing::info!(name, %address, "listening");
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        let message = error.to_string();
        match &error {
            StartError::Bind(bind) => {
                Self::new(Exit::Usage, "cannot_listen", message, bind.remedy())
            }
            StartError::Authority(AuthorityError::Denied(denied)) => {
                Self::new(Exit::Usage, denied.code, message, denied.remedy)
            }
            StartError::Authority(_) => Self::new(
                Exit::Usage,
                "data_dir_unusable",
                message,
                "check data_dir: its owner, its permissions, free space, and that no other \
                 control plane uses it",
            ),
            StartError::Address(_) => {
                Self::new(Exit::Unreachable, "no_address", message, "try again")
            }
        }
    }
}
