//! What is disturbed, and how it ends.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Ended, World};
use crate::control_plane::ControlPlane;
use crate::defects::Defect;
use crate::disk::Loss;
use crate::model::never_starts;
use crate::network::Conditions;

/// The longest time that something is disturbed, in seconds.
const LONGEST: f64 = 60.0;

/// Steps after which the control plane is killed, at most: a change takes about so many.
const MOST_STEPS: u64 = 16;

/// How something ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mend {
    /// A node has the network again.
    Network(usize),
    /// A sidecar starts again.
    Sidecar(usize),
    /// The control plane starts again.
    ControlPlane,
    /// The network is good again, for all.
    Conditions,
}

impl World {
    pub(super) async fn disturb(&mut self) -> Result<(), Ended> {
        let node = self.random.usize(0..self.nodes.len());
        match self.random.u8(0..10) {
            0..=1 => self.cut(node, true, true),
            2 => self.cut(node, true, false),
            3 => self.cut(node, false, true),
            4..=5 => self.reset(node),
            6..=7 => self.kill_sidecar(node).await?,
            8 => self.spoil(),
            _ => self.kill_control_plane().await?,
        }
        Ok(())
    }

    pub(super) async fn mend_what_is_due(&mut self) -> Result<(), Ended> {
        let now = Instant::now();
        let (due, later): (Vec<_>, Vec<_>) = self.mends.drain(..).partition(|(at, _)| *at <= now);
        self.mends = later;
        for (_, mend) in due {
            self.mend(mend).await?;
        }
        Ok(())
    }

    async fn mend(&mut self, mend: Mend) -> Result<(), Ended> {
        match mend {
            Mend::Network(node) => {
                self.network.heal(self.nodes[node].address());
                self.calm(node);
                self.say(&format!(
                    "{} has the network again",
                    self.nodes[node].name()
                ));
            }
            Mend::Sidecar(node) => {
                let started = self.nodes[node].start();
                started.map_err(|error| never_starts(&error))?;
                self.calm(node);
                self.say(&format!("{} starts again", self.nodes[node].name()));
            }
            Mend::ControlPlane => {
                let started = self.plane.start().await;
                started.map_err(|error| never_starts(&error))?;
                self.calm_plane();
                self.say("control plane starts again");
                self.list().await?;
            }
            Mend::Conditions => {
                self.network.become_like(Conditions::good());
                self.calm_plane();
                self.say("the network is good again");
            }
        }
        Ok(())
    }

    /// A node is left alone, unless something else of it is disturbed still.
    fn calm(&mut self, node: usize) {
        let is_disturbed = self.mends.iter().any(|(_, mend)| match mend {
            Mend::Network(other) | Mend::Sidecar(other) => *other == node,
            Mend::ControlPlane | Mend::Conditions => false,
        });
        self.model
            .disturbed(&self.nodes[node].spiffe_id(), is_disturbed);
    }

    /// The same of the control plane, and of what everybody is reached by.
    fn calm_plane(&mut self) {
        let of_all = |mend: &Mend| matches!(mend, Mend::ControlPlane | Mend::Conditions);
        let is_disturbed = self.mends.iter().any(|(_, mend)| of_all(mend));
        self.model.plane_disturbed(is_disturbed);
    }

    fn lasts(&mut self, mend: Mend) -> Duration {
        let lasts = Duration::from_secs_f64(LONGEST * self.random.f64());
        self.mends.push((Instant::now() + lasts, mend));
        lasts
    }

    fn cut(&mut self, node: usize, out: bool, back: bool) {
        let (here, there) = (self.nodes[node].address(), ControlPlane::address().ip());
        if out {
            self.network.cut(here, there);
        }
        if back {
            self.network.cut(there, here);
        }
        self.model.disturbed(&self.nodes[node].spiffe_id(), true);
        let (name, lasts) = (self.nodes[node].name(), self.lasts(Mend::Network(node)));
        let which = match (out, back) {
            (true, true) => "nothing",
            (true, false) => "nothing from",
            _ => "nothing to",
        };
        self.say(&format!("{which} {name} arrives for {lasts:.1?}"));
    }

    fn reset(&mut self, node: usize) {
        self.network.reset(self.nodes[node].address());
        self.calm(node);
        self.say(&format!("connections of {} break", self.nodes[node].name()));
    }

    async fn kill_sidecar(&mut self, node: usize) -> Result<(), Ended> {
        if self.nodes[node].held().is_none() {
            return Ok(());
        }
        let has_power = self.random.bool();
        let mut loss = match has_power {
            true => Loss::Nothing,
            false => Loss::Unsynced(&mut self.random),
        };
        self.nodes[node].kill(&mut loss).await?;
        self.model.disturbed(&self.nodes[node].spiffe_id(), true);
        let (name, lasts) = (self.nodes[node].name(), self.lasts(Mend::Sidecar(node)));
        let how = match has_power {
            true => "is killed",
            false => "loses its power",
        };
        self.say(&format!("{name} {how} for {lasts:.1?}"));
        Ok(())
    }

    /// At any moment, in the middle of a change as well.
    async fn kill_control_plane(&mut self) -> Result<(), Ended> {
        if !self.plane.is_running() {
            return Ok(());
        }
        let steps = self.random.u64(0..=MOST_STEPS);
        let delay = Duration::from_micros(self.random.u64(0..=20_000));
        let has_power = self.random.bool();
        if self.random.bool() {
            self.change_and_kill(steps, has_power).await?;
        } else {
            sleep(delay).await;
            self.steps.pass(steps).await;
            self.end_control_plane(has_power)?;
        }
        self.model.plane_disturbed(true);
        let lasts = self.lasts(Mend::ControlPlane);
        let how = match has_power {
            true => "is killed",
            false => "loses its power",
        };
        self.say(&format!("control plane {how} for {lasts:.1?}"));
        Ok(())
    }

    pub(super) fn end_control_plane(&mut self, has_power: bool) -> Result<(), Ended> {
        let mut loss = match has_power {
            true => Loss::Nothing,
            false => Loss::Unsynced(&mut self.random),
        };
        let rolled_back = self.defect == Some(Defect::OlderDisk);
        Ok(self.plane.kill(&mut loss, rolled_back)?)
    }

    fn spoil(&mut self) {
        let conditions = Conditions {
            delay: Duration::from_millis(self.random.u64(1..=150)),
            jitter: Duration::from_millis(self.random.u64(1..=300)),
            loss: 0.3 * self.random.f64(),
        };
        self.network.become_like(conditions);
        self.model.plane_disturbed(true);
        let lasts = self.lasts(Mend::Conditions);
        self.say(&format!(
            "the network is bad for {lasts:.1?}: {conditions:?}"
        ));
    }
}
