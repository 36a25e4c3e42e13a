//! The set: a service on node `a` behind a sidecar and an Envoy, a client on node `b`.
//!
//! ```text
//!  client ── sidecar b ──┬── mTLS ── sidecar a ── service
//!                        └── mTLS ── Envoy ────── service
//!                                      └ SDS ─ sidecar a
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use countersign_model::SpiffeId;
use countersign_tests_postgres::{Database, shared};
use jiff::Timestamp;
use rustix::process::Signal;
use serde_json::Value;

use super::progress::{Frame, Progress};
use super::report::{Ending, Propagation, Report};
use crate::clock;
use crate::control_plane::Settings;
use crate::envoy::{Bootstrap, Dialect};
use crate::load::probe::{Seen, Target, probe};
use crate::load::service::Service;
use crate::load::{Load, Route};
use crate::sidecar::{Inbound, Listeners, Outbound};
use crate::workload::{self, Identity};
use crate::{Command, ControlPlane, Envoy, Mesh, Registration, Sidecar, ports, wait};

const WEB: &str = "spiffe://example.org/web";
const CLIENT: &str = "spiffe://example.org/client";
/// With the lifetime: a renewal every 1.6 to 2 s.
const RENEW_AT: f64 = 0.1;
const LIFETIME: &str = "20s";
/// Digits of a serial that are shown: its random end.
const SHOWN_DIGITS: usize = 8;

/// Everything that runs. Dropped top-down: processes first, their folder last.
#[derive(Debug)]
pub(super) struct Stage {
    envoy: Envoy,
    web: Sidecar,
    client: Sidecar,
    routes: [Route; 2],
    doors: [(&'static str, SocketAddr); 2],
    is_first_gone: AtomicBool,
    mesh: Mesh,
    _database: Option<Database>,
    _service: Service,
}

/// Those who drive traffic and watch.
#[derive(Debug)]
pub(super) struct Cast {
    began: Timestamp,
    load: Load,
    seen: Vec<Arc<Seen>>,
    web: Identity,
    client: Identity,
}

impl Stage {
    pub(super) async fn set(replicas: u8, progress: &mut Progress) -> Result<Self> {
        let settings = Settings {
            renew_at: RENEW_AT,
            advertises: replicas > 1,
            ..Settings::default()
        };
        let database = (replicas > 1).then(|| shared().database());
        let mesh = match &database {
            None => {
                let mesh = Mesh::start(&settings).await?;
                progress.event("control plane: example.org, state in SQLite");
                mesh
            }
            Some(database) => {
                let mut mesh = Mesh::start(&settings.clone().on(database, "a")).await?;
                progress.event("control plane a: example.org, state in PostgreSQL");
                mesh.join("b", settings.on(database, "b")).await?;
                progress.event("control plane b: joined with its invitation");
                mesh
            }
        };
        for (id, node) in [(WEB, "a"), (CLIENT, "b")] {
            mesh.register(&Registration::new(id, node).for_ttl(LIFETIME))
                .await?;
        }
        let service = Service::start().await?;
        let (web, door) = serving(&mesh, &service).await?;
        progress.event("sidecar a: attested by join token, holds /web");
        let envoy = real_envoy(&web, &service).await?;
        progress.event("Envoy: took /web from sidecar a over SDS");
        let (client, routes) = calling(&mesh, door, &envoy).await?;
        progress.event("sidecar b: attested by join token, holds /client");
        if database.is_some() {
            for sidecar in [&web, &client] {
                sidecar.knows(2).await?;
            }
            progress.event("sidecars: knew control plane a alone, were told where b is");
        }
        Ok(Self {
            doors: [("at sidecar a", door), ("at Envoy", envoy.tcp())],
            envoy,
            web,
            client,
            routes,
            is_first_gone: AtomicBool::default(),
            mesh,
            _database: database,
            _service: service,
        })
    }

    /// Starts traffic and probes.
    pub(super) async fn begin(&self) -> Result<Cast> {
        let (web_id, client_id) = (SpiffeId::new(WEB)?, SpiffeId::new(CLIENT)?);
        let web = Identity::follow(&self.web.socket(), &web_id).await?;
        let client = Identity::follow(&self.client.socket(), &client_id).await?;
        let mut load = Load::start(&self.routes);
        let mut seen = Vec::new();
        for (name, address) in self.doors {
            let target = Target {
                name,
                address,
                expect: web_id.clone(),
                identity: client.clone(),
            };
            let serials = Arc::<Seen>::default();
            seen.push(Arc::clone(&serials));
            load.drive(probe(load.counters(), load.stop_signal(), target, serials));
        }
        Ok(Cast {
            began: clock::now(),
            load,
            seen,
            web,
            client,
        })
    }

    /// Does what an operator would.
    pub(super) async fn operate(&self, verb: &[&str]) -> Result<Value> {
        self.operator()?.json(verb).await
    }

    /// The operator's program, at a control plane that runs.
    fn operator(&self) -> Result<Command> {
        match self.other() {
            Some(other) if self.is_first_gone.load(Ordering::Acquire) => other.operator(),
            _ => self.mesh.operator(),
        }
    }

    /// The second control plane, where there is one.
    fn other(&self) -> Option<&ControlPlane> {
        self.mesh.control_planes().into_iter().nth(1)
    }

    /// Kills the first of two control planes, and says how long after it both sidecars had a stream at the
    /// other.
    pub(super) async fn kill_first(&self) -> Result<Duration> {
        let other = self.other().context("there is one control plane")?;
        let left = other.api().to_string();
        self.mesh.control_plane().process().signal(Signal::KILL)?;
        let since = Instant::now();
        self.is_first_gone.store(true, Ordering::Release);
        for sidecar in [&self.web, &self.client] {
            wait::until("a stream at the other", wait::BOUND, async || {
                let link = sidecar.status().await.ok()?["control_plane"].clone();
                let is_there = link["address"].as_str()?.contains(&left);
                (link["connected"] == true && is_there).then_some(())
            })
            .await?;
        }
        Ok(since.elapsed())
    }

    /// How everything stands.
    pub(super) async fn frame(&self, cast: &Cast) -> Frame {
        let authorities = self.operate(&["ca", "status"]).await;
        let authorities = authorities.unwrap_or_default();
        let tally = cast.load.tally();
        let requests = format!(
            "{} answered, {} failed",
            tally.requests_ok, tally.requests_failed
        );
        let connections = format!(
            "{} opened, {} dropped",
            tally.connections_opened, tally.connections_dropped
        );
        let renewals = cast.web.renewals() + cast.client.renewals();
        let summary = format!("requests: {requests}; {renewals} renewals");
        let mut rows = vec![
            ("requests", requests),
            ("connections", connections),
            ("sidecar a", held("web", &cast.web)),
            ("sidecar b", held("client", &cast.client)),
        ];
        for ((name, _), seen) in self.doors.iter().zip(&cast.seen) {
            rows.push((name, presented(&seen.all())));
        }
        rows.extend(active("issuing CA", &authorities["issuing"]));
        rows.extend(active("root", &authorities["roots"]));
        Frame { summary, rows }
    }

    /// Ends the traffic and says what came of it.
    pub(super) async fn end(self, cast: Cast, ending: Ending) -> Result<Report> {
        let (tally, reasons) = cast.load.stop().await;
        let seen: Vec<_> = cast.seen.iter().map(|seen| seen.all()).collect();
        let mut serials: BTreeSet<_> = seen.iter().flat_map(BTreeMap::keys).cloned().collect();
        // The other side of the same handshakes: what clients presented to the Envoy.
        serials.extend(self.envoy.peer_serials());
        Ok(Report {
            tally,
            rotations: cast.web.renewals() + cast.client.renewals(),
            replaced: ending.replaced,
            interrupted: ending.interrupted,
            page: ending.page,
            distinct_serials_seen: serials.len(),
            propagation_ms: Propagation::between(&self.issued_since(cast.began), &seen),
            reasons,
        })
    }

    /// When each certificate was issued since the probes began, as the control plane logs it.
    fn issued_since(&self, began: Timestamp) -> BTreeMap<String, Timestamp> {
        let issue = |event: &Value| {
            let fields = event.get("fields").unwrap_or(event);
            let serial = workload::serial(fields["serial"].as_str()?);
            Some((serial, fields["issued_at"].as_str()?.parse().ok()?))
        };
        let all = self.mesh.control_planes().into_iter();
        let events: Vec<_> = all.flat_map(|it| it.process().events()).collect();
        let issued = events.iter().filter_map(issue);
        issued.filter(|(_, at)| *at >= began).collect()
    }
}

async fn serving(mesh: &Mesh, service: &Service) -> Result<(Sidecar, SocketAddr)> {
    let listen = ports::reserve();
    let inbound = Inbound {
        listen,
        forward: service.address(),
        identity: WEB,
        allow: CLIENT,
    };
    let listeners = Listeners {
        inbound: vec![inbound],
        ..Listeners::default()
    };
    let sidecar = mesh.sidecar("a", &listeners).await?;
    sidecar.ready().await?;
    Ok((sidecar, listen))
}

async fn calling(mesh: &Mesh, door: SocketAddr, envoy: &Envoy) -> Result<(Sidecar, [Route; 2])> {
    let to = |connect| Outbound {
        listen: ports::reserve(),
        connect,
        identity: CLIENT,
        expect: WEB,
    };
    let [direct, http, tcp] = [door, envoy.http(), envoy.tcp()].map(to);
    let routes = [
        Route {
            name: "sidecar to sidecar",
            http: direct.listen,
            tcp: direct.listen,
        },
        Route {
            name: "sidecar to Envoy",
            http: http.listen,
            tcp: tcp.listen,
        },
    ];
    let listeners = Listeners {
        outbound: vec![direct, http, tcp],
        ..Listeners::default()
    };
    let sidecar = mesh.sidecar("b", &listeners).await?;
    sidecar.ready().await?;
    Ok((sidecar, routes))
}

async fn real_envoy(sidecar: &Sidecar, service: &Service) -> Result<Envoy> {
    let bootstrap = Bootstrap {
        sds_socket: &sidecar.socket(),
        identity: WEB,
        bundle: "ROOTCA",
        peer: CLIENT,
        dialect: Dialect::Delta,
    };
    let envoy = Envoy::inbound(sidecar.folder(), &bootstrap, service.address())?;
    envoy.ready().await.context("Envoy")?;
    Ok(envoy)
}

/// A row for each authority of a kind: the bundle can hold several.
fn active(name: &'static str, authorities: &Value) -> Vec<(&'static str, String)> {
    let describe = |it: &Value| {
        let key: String = it["key_id"].as_str()?.chars().take(SHOWN_DIGITS).collect();
        Some((name, format!("{key} {}", it["state"].as_str()?)))
    };
    let all = authorities.as_array();
    all.into_iter().flatten().filter_map(describe).collect()
}

fn held(name: &str, identity: &Identity) -> String {
    let serial = identity.newest().unwrap_or_default();
    format!(
        "/{name} …{}, generation {}",
        end_of(&serial),
        identity.renewals() + 1
    )
}

fn presented(seen: &BTreeMap<String, Timestamp>) -> String {
    let newest = seen.iter().max_by_key(|(_, at)| **at);
    let serial = newest.map_or("", |(serial, _)| serial);
    format!(
        "presents …{}, {} serials so far",
        end_of(serial),
        seen.len()
    )
}

fn end_of(serial: &str) -> &str {
    serial
        .get(serial.len().saturating_sub(SHOWN_DIGITS)..)
        .unwrap_or(serial)
}
