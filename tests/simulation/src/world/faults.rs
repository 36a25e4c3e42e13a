//! What is disturbed, and how it ends.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::machines::Host;
use super::replicas::Out;
use super::{Ended, World};
use crate::database::{Reach, State};
use crate::defects::Defect;
use crate::disk::{Loss, Trouble};
use crate::model::PlaneCalm;
use crate::network::Conditions;

/// The longest time that something is disturbed, in seconds.
const LONGEST: f64 = 60.0;

/// How long after a start that failed the next one is made.
const START_AGAIN: Duration = Duration::from_secs(2);

/// Steps after which the control plane is killed, at most: a change takes about so many.
const MOST_STEPS: u64 = 16;

/// How something ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mend {
    /// A node has the network again: what was cut.
    Network(usize, u32),
    /// A sidecar starts again.
    Sidecar(usize),
    /// A control plane starts again.
    ControlPlane(usize),
    /// A control plane has its database again, or all of them.
    Database(Option<usize>),
    /// A control plane that was cut off is reached again: what was cut.
    Reached(usize, u32),
    /// The log of a control plane is sealed by another one.
    Seal(usize, Out),
    /// An older database is put back.
    PutBack,
    /// The newest database is there again.
    BringBack,
    /// One that was sealed while it lived has no sidecars any more.
    Left(usize),
    /// A new control plane joins in the place of one that was sealed.
    Replace(usize),
    /// The network is good again, for all.
    Conditions,
    /// A disk is sound again.
    Disk(Host, Trouble),
    /// A clock is right again.
    Clock(Host),
    /// An operator brings a node that was evicted what it needs.
    Admission(usize),
}

impl World {
    pub(super) async fn disturb(&mut self) -> Result<(), Ended> {
        let node = self.random.usize(0..self.nodes.len());
        if self.is_put_back() {
            return Ok(());
        }
        let most = match (&self.database, self.planes.len()) {
            (None, _) => 14,
            (Some(_), 1) => 18,
            (Some(_), _) => 24,
        };
        match self.random.u8(0..most) {
            0..=1 => self.cut(node, true, true),
            2 => self.cut(node, true, false),
            3 => self.cut(node, false, true),
            4..=5 => self.reset(node),
            6..=7 => self.kill_sidecar(node).await?,
            8 => self.spoil(),
            9 => self.kill_control_plane().await?,
            10..=11 => self.trouble()?,
            12..=13 => self.turn_clock(),
            14..=17 => self.disturb_database(),
            18..=20 => self.cut_plane(),
            21 => self.copy_database(),
            _ => self.lose_plane().await,
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
            Mend::Network(node, cut) => {
                self.network.heal(cut);
                self.calm(node);
                self.say(&format!(
                    "{} has the network again",
                    self.nodes[node].name()
                ));
            }
            Mend::Sidecar(node) => {
                if let Err(error) = self.nodes[node].start() {
                    return self.not_started(node, &error);
                }
                self.calm(node);
                self.say(&format!("{} starts again", self.nodes[node].name()));
            }
            // Its operator started it when the newest database was there again.
            Mend::ControlPlane(plane) if self.planes[plane].is_running() => {}
            Mend::ControlPlane(plane) => {
                if !self.start_plane(plane).await? {
                    self.mends.push((Instant::now() + START_AGAIN, mend));
                    return Ok(());
                }
                self.calm_plane();
                let name = &self.planes[plane].name;
                self.say(&format!("control plane {name} starts again"));
                self.list_of(plane).await?;
            }
            Mend::Database(plane) => self.mend_database(plane),
            Mend::Reached(plane, cut) => self.is_reached(plane, cut),
            Mend::Seal(plane, out) => self.seal(plane, out).await?,
            Mend::PutBack => self.put_back().await,
            Mend::BringBack => self.bring_back().await?,
            Mend::Left(plane) => self.is_left(plane),
            Mend::Replace(plane) => self.replace(plane).await?,
            Mend::Conditions => {
                self.network.become_like(Conditions::good());
                self.calm_plane();
                self.say("the network is good again");
            }
            Mend::Disk(host, trouble) => self.disk_is_sound(host, trouble)?,
            Mend::Clock(host) => self.clock_is_right(host),
            Mend::Admission(node) => self.admit_again(node).await?,
        }
        Ok(())
    }

    /// A node is left alone, unless something else of it is disturbed still.
    pub(super) fn calm(&mut self, node: usize) {
        let is_disturbed = self.mends.iter().any(|(_, mend)| match mend {
            Mend::Network(other, _) | Mend::Sidecar(other) | Mend::Admission(other) => {
                *other == node
            }
            Mend::Disk(host, _) | Mend::Clock(host) => *host == Host::Node(node),
            _ => false,
        });
        self.model
            .disturbed(&self.nodes[node].spiffe_id(), is_disturbed);
    }

    /// The same of the control planes, and of what everybody is reached by. Where one is gone its sidecars go
    /// to another; one that they reach and that has no database knows nothing new.
    pub(super) fn calm_plane(&mut self) {
        let is_bad = { self.mends.iter() }.any(|(_, mend)| match mend {
            Mend::Conditions => true,
            Mend::Disk(host, _) | Mend::Clock(host) => matches!(host, Host::ControlPlane(_)),
            _ => false,
        });
        let running = self.planes.iter().filter(|plane| plane.is_running());
        let mut reached = running.filter(|plane| !plane.is_cut_off);
        let is_served = { reached.clone() }.any(|plane| !plane.is_out && !plane.is_impeded());
        let is_impeded = reached.any(|plane| plane.is_impeded() || plane.is_out);
        let calm = match (is_bad || !is_served, is_impeded) {
            (true, _) => PlaneCalm::NotServed,
            (false, true) => PlaneCalm::Impeded,
            (false, false) => PlaneCalm::Served,
        };
        self.model.planes_are(calm);
    }

    pub(super) fn lasts(&mut self, mend: Mend) -> Duration {
        let lasts = Duration::from_secs_f64(LONGEST * self.random.f64());
        self.mends.push((Instant::now() + lasts, mend));
        lasts
    }

    fn cut(&mut self, node: usize, out: bool, back: bool) {
        let here = Some(self.nodes[node].address());
        let ways = [(out, (here, None)), (back, (None, here))];
        let ways = ways
            .into_iter()
            .filter_map(|(is_cut, way)| is_cut.then_some(way));
        let cut = self.network.cut(ways.collect());
        self.model.disturbed(&self.nodes[node].spiffe_id(), true);
        let (name, lasts) = (
            self.nodes[node].name(),
            self.lasts(Mend::Network(node, cut)),
        );
        let which = match (out, back) {
            (true, true) => "nothing",
            (true, false) => "nothing from",
            _ => "nothing to",
        };
        self.say(&format!("{which} {name} arrives for {lasts:.1?}"));
    }

    /// No sidecar reaches one of the control planes, or the other way round; or that stands still: then it
    /// does not reach its database either.
    fn cut_plane(&mut self) {
        let plane = self.random.usize(0..self.planes.len());
        if self.planes[plane].is_cut_off || self.planes[plane].is_out {
            return;
        }
        let here = Some(self.planes[plane].address().ip());
        let ways = match self.random.u8(0..4) {
            0 => vec![(here, None)],
            1 => vec![(None, here)],
            _ => vec![(here, None), (None, here)],
        };
        let stands_still = ways.len() == 2 && self.random.bool();
        let how = match (stands_still, &*ways) {
            (true, _) => "stands still",
            (_, [(Some(_), None)]) => "is not heard by sidecars",
            (_, [(None, Some(_))]) => "hears no sidecar",
            _ => "reaches no sidecar, and none reaches it,",
        };
        let cut = self.network.cut(ways);
        let it = &mut self.planes[plane];
        it.is_cut_off = true;
        if stands_still {
            it.reaches(State {
                reach: Reach::Silent,
                ..State::default()
            });
        }
        let name = it.name.clone();
        let lasts = self.lasts(Mend::Reached(plane, cut));
        self.calm_plane();
        self.say(&format!("control plane {name} {how} for {lasts:.1?}"));
    }

    fn is_reached(&mut self, plane: usize, cut: u32) {
        self.network.heal(cut);
        let it = &mut self.planes[plane];
        it.is_cut_off = false;
        if !it.is_out {
            it.reaches(State::default());
        }
        let name = it.name.clone();
        self.calm_plane();
        self.say(&format!("control plane {name} is reached again"));
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
        self.disks.pause()?;
        self.nodes[node].kill(&mut loss).await?;
        self.disks.go_on()?;
        if self.is_troubled(Host::Node(node)) {
            self.model.may_be_forgotten(&self.nodes[node].consumers);
        }
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
        let plane = self.random.usize(0..self.planes.len());
        if !self.planes[plane].is_running() || self.planes[plane].is_out {
            return Ok(());
        }
        let steps = self.random.u64(0..=MOST_STEPS);
        let delay = Duration::from_micros(self.random.u64(0..=20_000));
        let has_power = self.random.bool();
        if self.random.bool() {
            self.change_and_kill(plane, steps, has_power).await?;
        } else {
            sleep(delay).await;
            self.steps.pass(steps).await;
            self.end_control_plane(plane, has_power)?;
        }
        let lasts = self.lasts(Mend::ControlPlane(plane));
        self.calm_plane();
        let how = match has_power {
            true => "is killed",
            false => "loses its power",
        };
        let name = &self.planes[plane].name;
        self.say(&format!("control plane {name} {how} for {lasts:.1?}"));
        Ok(())
    }

    pub(super) fn end_control_plane(&mut self, plane: usize, has_power: bool) -> Result<(), Ended> {
        let before = self.files(Host::ControlPlane(plane));
        let mut loss = match has_power {
            true => Loss::Nothing,
            false => Loss::Unsynced(&mut self.random),
        };
        let rolled_back = self.defect == Some(Defect::OlderDisk);
        self.planes[plane].kill(&mut loss, rolled_back)?;
        self.disk_follows(plane, &before)
    }

    fn spoil(&mut self) {
        let conditions = Conditions {
            delay: Duration::from_millis(self.random.u64(1..=150)),
            jitter: Duration::from_millis(self.random.u64(1..=300)),
            loss: 0.3 * self.random.f64(),
        };
        self.network.become_like(conditions);
        let lasts = self.lasts(Mend::Conditions);
        self.calm_plane();
        self.say(&format!(
            "the network is bad for {lasts:.1?}: {conditions:?}"
        ));
    }
}
