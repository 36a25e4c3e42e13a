//! Control planes that are lost for good, or that nobody waits for any more: another one seals their log, and
//! a new one joins in their place.

use std::time::Duration;

use tokio::time::Instant;

use super::faults::Mend;
use super::{Ended, World};
use crate::control_plane::ControlPlane;
use crate::database::{Reach, State};
use crate::model::{Violation, comes_back};
use crate::operator::{NotDone, Operator, SealedLog};

/// How long one was silent before it is sealed, at least: it counts as alive for as long.
const SILENT: Duration = Duration::from_secs(16);
/// How long after an act of an operator that came to nothing the next try is made.
const AGAIN: Duration = Duration::from_secs(5);
/// How long one that was sealed while it lived goes on at least, until its operator stops it; and how much
/// longer at most, in seconds.
const GOES_ON: (Duration, u64) = (Duration::from_secs(20), 150);
/// Within this time it has found out, and its sidecars have gone to others.
const LEFT_WITHIN: Duration = Duration::from_secs(10);

/// Why one is out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Out {
    /// It is gone with its disk.
    Lost,
    /// It lives, and is cut off from its database.
    CutOff,
}

impl World {
    /// Whether one of them may be spared: not the last one, nor whose disk has the key of the root that
    /// signs, while others are to be certified by it. Where nobody can tell, it is not.
    async fn may_spare(&self, plane: usize) -> bool {
        let mut others = self.planes.iter().enumerate();
        let is_left = others.any(|(other, it)| other != plane && it.is_running() && !it.is_out);
        let it = &self.planes[plane];
        if !is_left || !it.is_running() || it.is_out {
            return false;
        }
        let roots = match Operator::connect(it.connect()).await {
            Ok(mut operator) => operator.active_roots().await,
            Err(error) => Err(error),
        };
        roots.is_ok_and(|roots| !roots.is_empty() && roots.iter().all(|root| !it.has_key(root)))
    }

    /// One of them is out from now on, and is sealed in a while.
    pub(super) async fn lose_plane(&mut self) {
        let plane = self.random.usize(0..self.planes.len());
        if !self.may_spare(plane).await {
            return;
        }
        let out = match self.random.bool() {
            true => Out::Lost,
            false => Out::CutOff,
        };
        let it = &mut self.planes[plane];
        it.is_out = true;
        let how = match out {
            Out::Lost => {
                it.lose();
                "is lost with its disk"
            }
            Out::CutOff => {
                it.reaches(State {
                    reach: Reach::Silent,
                    ..State::default()
                });
                "is cut off from its database until it is sealed"
            }
        };
        let name = it.name.clone();
        self.say(&format!("control plane {name} {how}"));
        self.calm_plane();
        let after = SILENT + Duration::from_secs(self.random.u64(0..30));
        self.later(after, Mend::Seal(plane, out));
    }

    /// Another one seals its log, as soon as there is one.
    pub(super) async fn seal(&mut self, plane: usize, out: Out) -> Result<(), Ended> {
        let name = self.planes[plane].name.clone();
        let sealed = match self.operator_besides(plane).await {
            Ok(mut operator) => operator.seal(&name, out == Out::CutOff).await,
            Err(error) => Err(error),
        };
        match sealed {
            Ok(sealed) => self.is_sealed(plane, out, sealed),
            Err(error) => {
                self.say(&format!("{name} is not sealed: {error}"));
                self.later(AGAIN, Mend::Seal(plane, out));
            }
        }
        Ok(())
    }

    fn is_sealed(&mut self, plane: usize, out: Out, sealed: SealedLog) {
        let name = self.planes[plane].name.clone();
        self.say(&format!("{name} is sealed with {} entries", sealed.size));
        let newest = { self.database.as_ref() }.and_then(|it| it.memory.newest_of(&name));
        self.model.sealed(&name, sealed, newest);
        if out == Out::CutOff {
            // It hears of it now.
            self.planes[plane].reaches(State::default());
            self.calm_plane();
            self.later(LEFT_WITHIN, Mend::Left(plane));
        }
        let after = match out {
            Out::Lost => Duration::from_secs(self.random.u64(0..30)),
            Out::CutOff => GOES_ON.0 + Duration::from_secs(self.random.u64(0..GOES_ON.1)),
        };
        self.later(after, Mend::Replace(plane));
    }

    /// Nobody is served by one that was sealed.
    pub(super) fn is_left(&mut self, plane: usize) {
        if self.planes[plane].is_out {
            self.planes[plane].is_cut_off = true;
            self.calm_plane();
        }
    }

    /// Its operator stops it, if it runs; a new one joins on its machine.
    pub(super) async fn replace(&mut self, plane: usize) -> Result<(), Ended> {
        let before = &mut self.planes[plane];
        if before.is_running() {
            before.lose();
            // Its disk does not bring it back.
            if before.start(self.database.as_mut()).await.is_ok() {
                return Err(comes_back(&before.name).into());
            }
        }
        let machine = before.machine;
        self.calm_plane();
        let name = char::from(b'a' + self.named).to_string();
        let invitation = match self.operator_besides(plane).await {
            Ok(mut operator) => operator.invite(&name).await,
            Err(error) => Err(error),
        };
        let invitation = match invitation {
            Ok(invitation) => invitation,
            Err(error) => {
                self.say(&format!("{name} is not invited: {error}"));
                self.later(AGAIN, Mend::Replace(plane));
                return Ok(());
            }
        };
        self.named += 1;
        let new = ControlPlane::new(&name, machine, true, self.network.clone());
        new.invited(&invitation)?;
        self.planes[plane] = new;
        self.say(&format!("control plane {name} takes that place"));
        self.later(Duration::ZERO, Mend::ControlPlane(plane));
        Ok(())
    }

    /// An operator at another one.
    async fn operator_besides(&mut self, plane: usize) -> Result<Operator, NotDone> {
        let others = self.planes.iter().enumerate();
        let others = others.filter(|(other, it)| *other != plane && it.is_running() && !it.is_out);
        let others: Vec<_> = others.map(|(_, it)| it).collect();
        let drawn = self.random.choice(&others);
        Operator::connect(drawn.and_then(|plane| plane.connect())).await
    }

    /// Whoever was sealed commits nothing any more.
    pub(super) fn judge_sealed(&self) -> Result<(), Violation> {
        match &self.database {
            Some(database) => self.model.judge_sealed(&database.memory),
            None => Ok(()),
        }
    }

    pub(super) fn later(&mut self, after: Duration, mend: Mend) {
        self.mends.push((Instant::now() + after, mend));
    }
}
