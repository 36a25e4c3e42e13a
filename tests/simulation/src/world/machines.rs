//! A disk that is full, broken or slow, of one machine at a time, and clocks that are wrong.

use std::time::Duration;

use tokio::time::Instant;

use super::faults::Mend;
use super::{Ended, World};
use crate::clock::{HostClock, Wrong};
use crate::disk::Trouble;
use crate::model::never_starts;

/// When what did not succeed on such a machine is tried again.
pub(super) const AGAIN: Duration = Duration::from_secs(5);

/// Whose machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Host {
    /// A node's.
    Node(usize),
    /// A control plane's.
    ControlPlane(usize),
}

impl World {
    /// One disk is in trouble for a time.
    pub(super) fn trouble(&mut self) -> Result<(), Ended> {
        if self.disks.troubled.is_some() {
            return Ok(());
        }
        let host = match self.random.bool() {
            true => Host::ControlPlane(self.random.usize(0..self.planes.len())),
            false => Host::Node(self.random.usize(0..self.nodes.len())),
        };
        let trouble = Trouble::drawn(&mut self.random);
        self.disks.trouble(Some((self.files(host), trouble)))?;
        let lasts = self.lasts(Mend::Disk(host, trouble));
        self.left_alone_or_not(host);
        let name = self.host_name(host);
        self.say(&format!("the disk of {name} {trouble} for {lasts:.1?}"));
        Ok(())
    }

    /// A disk is sound again. A control plane whose fsync failed ends then, as its operator is told to do,
    /// and starts again: it takes nothing for durable from there on.
    pub(super) fn disk_is_sound(&mut self, host: Host, trouble: Trouble) -> Result<(), Ended> {
        self.disks.trouble(None)?;
        let name = self.host_name(host);
        self.say(&format!("the disk of {name} is sound again"));
        if let Host::ControlPlane(plane) = host
            && trouble == Trouble::Broken
            && self.planes[plane].is_running()
            && !self.planes[plane].is_out
        {
            self.end_control_plane(plane, true)?;
            self.lasts(Mend::ControlPlane(plane));
            self.say(&format!("{name} ends"));
        }
        self.left_alone_or_not(host);
        Ok(())
    }

    /// The clock of one machine is wrong for a time.
    pub(super) fn turn_clock(&mut self) {
        let host = Host::Node(self.random.usize(0..self.nodes.len()));
        let is_wrong = |(_, mend): &(_, Mend)| matches!(mend, Mend::Clock(other) if *other == host);
        if self.mends.iter().any(is_wrong) {
            return;
        }
        let wrong = Wrong::drawn(&mut self.random);
        self.host_clock(host).set(Some(wrong));
        self.model.clock_is_wrong(self.node_of(host), true);
        let lasts = self.lasts(Mend::Clock(host));
        self.left_alone_or_not(host);
        let (name, Wrong { step, drift, .. }) = (self.host_name(host), wrong);
        self.say(&format!(
            "the clock of {name} is turned by {step:.1} s and drifts by {drift:.3} for {lasts:.1?}"
        ));
    }

    pub(super) fn clock_is_right(&mut self, host: Host) {
        self.host_clock(host).set(None);
        if let Host::Node(node) = host {
            self.mends.push((Instant::now(), Mend::Admission(node)));
        }
        self.model.clock_is_wrong(self.node_of(host), false);
        self.left_alone_or_not(host);
        self.say(&format!("the clock of {} is right", self.host_name(host)));
    }

    /// A sidecar that does not start on such a disk starts later.
    pub(super) fn not_started(&mut self, node: usize, error: &anyhow::Error) -> Result<(), Ended> {
        if !self.is_troubled(Host::Node(node)) {
            return Err(never_starts(error).into());
        }
        let name = self.nodes[node].name();
        self.say(&format!("{name} does not start: {error:#}"));
        let again = Instant::now() + AGAIN;
        self.mends.push((again, Mend::Sidecar(node)));
        Ok(())
    }

    pub(super) fn is_troubled(&self, host: Host) -> bool {
        let troubled = self.disks.troubled.as_ref();
        troubled.is_some_and(|(folder, _)| *folder == self.files(host))
    }

    /// What the paths of its files have in them.
    pub(super) fn files(&self, host: Host) -> String {
        match host {
            Host::Node(node) => format!("{}/state", self.nodes[node].name()),
            Host::ControlPlane(plane) => format!("{}/", self.planes[plane].folder().display()),
        }
    }

    /// After a crash a control plane is in another folder, on the same disk.
    pub(super) fn disk_follows(&mut self, plane: usize, before: &str) -> Result<(), Ended> {
        if let Some((folder, trouble)) = self.disks.troubled.clone()
            && folder == before
        {
            let files = self.files(Host::ControlPlane(plane));
            self.disks.trouble(Some((files, trouble)))?;
        }
        Ok(())
    }

    fn left_alone_or_not(&mut self, host: Host) {
        match host {
            Host::Node(node) => self.calm(node),
            Host::ControlPlane(_) => self.calm_plane(),
        }
    }

    fn host_clock(&self, host: Host) -> &HostClock {
        match host {
            Host::Node(node) => &self.nodes[node].clock,
            Host::ControlPlane(plane) => &self.planes[plane].clock,
        }
    }

    fn node_of(&self, host: Host) -> Option<String> {
        match host {
            Host::Node(node) => Some(self.nodes[node].spiffe_id()),
            Host::ControlPlane(_) => None,
        }
    }

    fn host_name(&self, host: Host) -> String {
        match host {
            Host::Node(node) => self.nodes[node].name(),
            Host::ControlPlane(plane) => format!("control plane {}", self.planes[plane].name),
        }
    }
}
