//! The scene of most stories: a service on node `a`, a client on node `b`, mTLS between them.

use std::sync::Arc;

use anyhow::Result;
use countersign_model::SpiffeId;
use countersign_tests::control_plane::Settings;
use countersign_tests::envoy::{Bootstrap, Dialect};
use countersign_tests::load::probe::{Seen, Target, probe};
use countersign_tests::load::service::Service;
use countersign_tests::load::{Load, Route, Tally};
use countersign_tests::sidecar::{Inbound, Listeners, Outbound};
use countersign_tests::workload::Identity;
use countersign_tests::{Envoy, Mesh, Registration, Sidecar, ports, wait};

pub(crate) const WEB: &str = "spiffe://example.org/web";
pub(crate) const CLIENT: &str = "spiffe://example.org/client";

/// What carries mTLS on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proxy {
    Sidecar,
    Envoy(Dialect),
}

/// Everything that runs.
pub(crate) struct Scene {
    pub(crate) service: Service,
    pub(crate) route: Route,
    /// The mTLS listener of the service.
    pub(crate) door: std::net::SocketAddr,
    pub(crate) envoys: Vec<Envoy>,
    pub(crate) web: Sidecar,
    pub(crate) client: Sidecar,
    pub(crate) mesh: Mesh,
}

/// Load on a scene, and the identities whose rotation is followed.
pub(crate) struct Traffic {
    pub(crate) load: Load,
    pub(crate) seen: Arc<Seen>,
    pub(crate) web: Identity,
    pub(crate) client: Identity,
}

/// Certificates of `ttl` that are renewed after `renew_at` of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) ttl: &'static str,
    pub(crate) renew_at: f64,
}

/// A renewal every second.
pub(crate) const FAST: Pace = Pace {
    ttl: "20s",
    renew_at: 0.05,
};
/// A renewal every three seconds, of certificates that outlive an outage.
pub(crate) const STEADY: Pace = Pace {
    ttl: "60s",
    renew_at: 0.05,
};

impl Scene {
    pub(crate) async fn start(server: Proxy, client: Proxy, pace: Pace) -> Result<Self> {
        let settings = Settings {
            renew_at: pace.renew_at,
            ..Settings::default()
        };
        let mesh = Mesh::start(&settings).await?;
        Self::of(mesh, server, client, pace).await
    }

    /// The same, of control planes that run.
    pub(crate) async fn of(mesh: Mesh, server: Proxy, client: Proxy, pace: Pace) -> Result<Self> {
        for (id, node) in [(WEB, "a"), (CLIENT, "b")] {
            mesh.register(&Registration::new(id, node).for_ttl(pace.ttl))
                .await?;
        }
        let service = Service::start().await?;
        let mut envoys = Vec::new();
        let (web, doors) = start_server(&mesh, server, &service, &mut envoys).await?;
        let (sidecar, route) = start_client(&mesh, client, doors, &mut envoys).await?;
        web.ready().await?;
        sidecar.ready().await?;
        for envoy in &envoys {
            envoy.ready().await?;
        }
        Ok(Self {
            service,
            route,
            door: doors.tcp,
            envoys,
            web,
            client: sidecar,
            mesh,
        })
    }

    /// Drives plaintext load through the client's proxy, and handshakes at the service's.
    pub(crate) async fn traffic(&self) -> Result<Traffic> {
        let (web_id, client_id) = (SpiffeId::new(WEB)?, SpiffeId::new(CLIENT)?);
        let web = Identity::follow(&self.web.socket(), &web_id).await?;
        let client = Identity::follow(&self.client.socket(), &client_id).await?;
        let mut load = Load::start(std::slice::from_ref(&self.route));
        let seen = Arc::<Seen>::default();
        let target = Target {
            name: "probe",
            address: self.door,
            expect: web_id,
            identity: client.clone(),
        };
        let driver = probe(
            load.counters(),
            load.stop_signal(),
            target,
            Arc::clone(&seen),
        );
        load.drive(driver);
        Ok(Traffic {
            load,
            seen,
            web,
            client,
        })
    }
}

impl Traffic {
    /// Waits until both identities were renewed `more` times and the service presented as many
    /// new certificates.
    pub(crate) async fn renewals(&self, more: usize) -> Result<()> {
        let before = self.counts();
        let what = format!("{more} renewals");
        let bound = wait::BOUND * 4;
        wait::until(&what, bound, async || {
            let now = self.counts();
            let enough = before.iter().zip(now).all(|(then, now)| now >= then + more);
            enough.then_some(())
        })
        .await
    }

    /// Waits until `more` requests were answered.
    pub(crate) async fn requests(&self, more: u64) -> Result<()> {
        let enough = self.load.tally().requests_ok + more;
        wait::until("requests", wait::BOUND, async || {
            (self.load.tally().requests_ok >= enough).then_some(())
        })
        .await
    }

    /// Ends the load. Fails where anything was lost.
    pub(crate) async fn lost_nothing(self) -> Result<Tally> {
        let (tally, reasons) = self.load.stop().await;
        anyhow::ensure!(tally.is_lossless(), "{tally:?}\n{}", reasons.join("\n"));
        Ok(tally)
    }

    fn counts(&self) -> [usize; 3] {
        [
            self.web.renewals(),
            self.client.renewals(),
            self.seen.count(),
        ]
    }
}

/// The service's mTLS listeners: for HTTP and for bytes.
#[derive(Clone, Copy)]
struct Doors {
    http: std::net::SocketAddr,
    tcp: std::net::SocketAddr,
}

async fn start_server(
    mesh: &Mesh,
    proxy: Proxy,
    service: &Service,
    envoys: &mut Vec<Envoy>,
) -> Result<(Sidecar, Doors)> {
    let Proxy::Envoy(dialect) = proxy else {
        let inbound = Inbound {
            listen: ports::reserve(),
            forward: service.address(),
            identity: WEB,
            allow: CLIENT,
        };
        let door = inbound.listen;
        let inbound = vec![inbound];
        let outbound = Vec::new();
        let sidecar = mesh.sidecar("a", &Listeners { inbound, outbound }).await?;
        let (http, tcp) = (door, door);
        return Ok((sidecar, Doors { http, tcp }));
    };
    let sidecar = mesh.sidecar("a", &Listeners::default()).await?;
    let socket = sidecar.socket();
    let bootstrap = bootstrap(&socket, WEB, CLIENT, dialect);
    let envoy = Envoy::inbound(sidecar.folder(), &bootstrap, service.address())?;
    let (http, tcp) = (envoy.http(), envoy.tcp());
    envoys.push(envoy);
    Ok((sidecar, Doors { http, tcp }))
}

async fn start_client(
    mesh: &Mesh,
    proxy: Proxy,
    doors: Doors,
    envoys: &mut Vec<Envoy>,
) -> Result<(Sidecar, Route)> {
    let Proxy::Envoy(dialect) = proxy else {
        let outbound = [doors.http, doors.tcp].map(|connect| Outbound {
            listen: ports::reserve(),
            connect,
            identity: CLIENT,
            expect: WEB,
        });
        let [http, tcp] = [outbound[0].listen, outbound[1].listen];
        let listeners = Listeners {
            inbound: Vec::new(),
            outbound: outbound.into(),
        };
        let sidecar = mesh.sidecar("b", &listeners).await?;
        let name = "through the sidecar";
        return Ok((sidecar, Route { name, http, tcp }));
    };
    let sidecar = mesh.sidecar("b", &Listeners::default()).await?;
    let socket = sidecar.socket();
    let bootstrap = bootstrap(&socket, CLIENT, WEB, dialect);
    let envoy = Envoy::outbound(sidecar.folder(), &bootstrap, doors.http, doors.tcp)?;
    let (name, http, tcp) = ("through Envoy", envoy.http(), envoy.tcp());
    envoys.push(envoy);
    Ok((sidecar, Route { name, http, tcp }))
}

/// State of the world goes with the plain bundle, delta with Envoy's SPIFFE validator.
fn bootstrap<'a>(
    sds_socket: &'a std::path::Path,
    identity: &'a str,
    peer: &'a str,
    dialect: Dialect,
) -> Bootstrap<'a> {
    let bundle = match dialect {
        Dialect::StateOfTheWorld => "ROOTCA",
        Dialect::Delta => "ALL",
    };
    Bootstrap {
        sds_socket,
        identity,
        bundle,
        peer,
        dialect,
    }
}
