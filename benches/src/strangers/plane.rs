//! Floods against the control plane's API, while a node connects and enrols again and again.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use countersign_tests::fetch;

use super::honest::{Waits, beside};
use super::stranger::Act;
use super::watched::Watched;
use crate::issuance::plane::Plane;
use crate::issuance::prepared::enrolment;
use crate::issuance::report::Report;
use crate::issuance::sidecar::Node;

/// What is only slow the first time is no cost of a flood.
const WARMING: usize = 3;

/// Runs each flood against a fresh control plane.
///
/// # Errors
/// It does not start, or ends.
pub async fn floods(report: Report, acts: &[Act]) -> Result<()> {
    for act in acts {
        let scene = Scene::new().await?;
        Box::pin(scene.measure(report, *act)).await?;
    }
    Ok(())
}

/// A control plane with a node that is known there.
struct Scene {
    plane: Plane,
    known: Node,
    entitlement: String,
    telemetry: SocketAddr,
}

impl Scene {
    async fn new() -> Result<Self> {
        let plane = Plane::start(None).await?;
        let names = plane.admin.register([(0, 0), (1, 0)].into_iter()).await?;
        let tokens = plane.admin.tokens(std::iter::once(0)).await?;
        let known = Node::attest(plane.address, &tokens[0]).await?;
        let scene = Self {
            telemetry: plane.telemetry().await?,
            entitlement: names[0].clone(),
            plane,
            known,
        };
        for _ in 0..WARMING {
            scene.enrol().await?;
        }
        Ok(scene)
    }

    /// A known node comes and has a key certified.
    async fn enrol(&self) -> Result<()> {
        let mut sidecar = self.known.connect(self.plane.address).await?;
        let request = enrolment(&sidecar.exporter, &self.entitlement);
        sidecar.enrol(vec![request]).await
    }

    /// Runs a flood beside the known node and reports what it cost.
    async fn measure(&self, report: Report, act: Act) -> Result<()> {
        let token = async || {
            Ok::<_, anyhow::Error>(match act.is_of_a_node() {
                true => Some(self.plane.admin.tokens(std::iter::once(1)).await?.concat()),
                false => None,
            })
        };
        let (first, second) = (token().await?, token().await?);
        report.title(&act.title());
        let watched = Watched::begin(self.plane.pid(), self.plane.log())?;
        let mut readiness = Readiness::default();
        let flood = act.run(self.plane.address, first.as_deref());
        let enrol = async || {
            readiness.ask(self.telemetry).await;
            Box::pin(self.enrol()).await
        };
        let (outcome, waits) = Box::pin(beside(flood, enrol)).await;
        waits.report(report, "a known node connects and enrols");
        readiness.waits.report(report, "/readyz");
        report.figure("/readyz said degraded", readiness.degraded as f64, "times");
        outcome?.report(report);
        let enrol = async || Box::pin(self.enrol()).await;
        watched.report(report, enrol).await?;
        let again = act.run(self.plane.address, second.as_deref());
        watched.again(report, again).await
    }
}

/// What `/readyz` said.
#[derive(Default)]
struct Readiness {
    waits: Waits,
    degraded: usize,
}

impl Readiness {
    async fn ask(&mut self, telemetry: SocketAddr) {
        let degraded = &mut self.degraded;
        let ask = async {
            let (status, text) = fetch::get(telemetry, "/readyz").await?;
            ensure!(status.is_success(), "{status}");
            *degraded += usize::from(text.contains("degraded"));
            Ok(())
        };
        self.waits.note(ask).await;
    }
}
