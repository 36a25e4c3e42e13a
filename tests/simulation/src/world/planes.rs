//! The control planes of a run: one with its state in files or in a database, or several that share one.

use std::path::PathBuf;
use std::time::Duration;

use super::machines::Host;
use super::{Ended, World, broken};
use crate::control_plane::ControlPlane;
use crate::database::Database;
use crate::model::{Lag, is_lost, never_starts};
use crate::operator::{Key, NotDone};

/// Control planes of a run, at most.
pub(super) const MOST_PLANES: u8 = 3;
/// While nothing is disturbed, what one of them did is seen by the others within this time.
const SEEN_WITHIN: Duration = Duration::from_secs(2);
/// What was asked for and not answered is done within this time, or never.
const DONE_WITHIN: Duration = Duration::from_secs(90);

impl World {
    /// Starts so many for the first time: the others are invited by one that runs.
    pub(super) async fn begin_planes(&mut self, count: u8) -> Result<(), Ended> {
        if count > 1 || self.random.bool() {
            self.database = Some(Database::new(self.random.fork()));
        }
        for machine in 1..=count {
            let name = char::from(b'a' + machine - 1).to_string();
            let (network, is_shared) = (self.network.clone(), self.database.is_some());
            let plane = ControlPlane::new(&name, machine, is_shared, network);
            if machine > 1 {
                let invitation = self.invite(&name).await.map_err(|error| broken(&error))?;
                plane.invited(&invitation)?;
            }
            self.planes.push(plane);
            self.named += 1;
            self.start_plane(usize::from(machine) - 1).await?;
            self.say(&format!("control plane {name} started for the first time"));
        }
        Ok(())
    }

    async fn invite(&mut self, name: &str) -> Result<String, NotDone> {
        self.operator().await?.invite(name).await
    }

    /// Starts one on whatever is left to it. Without its database it does not start: then it is tried
    /// again, and says `false`.
    pub(super) async fn start_plane(&mut self, plane: usize) -> Result<bool, Ended> {
        let is_troubled = self.is_troubled(Host::ControlPlane(plane));
        let plane = &mut self.planes[plane];
        match plane.start(self.database.as_mut()).await {
            Ok(()) => Ok(true),
            Err(error) if plane.is_impeded() || is_troubled => {
                let name = &plane.name;
                self.trace.line(
                    "world",
                    &format!("control plane {name} does not start: {error:#}"),
                );
                Ok(false)
            }
            Err(error) => Err(never_starts(&error).into()),
        }
    }

    /// The logs of all: of those that live their own, of those that were sealed what a survivor has. Where
    /// the survivor that sealed it is gone as well, another one is asked.
    pub(super) async fn logs(&mut self) -> Result<Vec<PathBuf>, Ended> {
        let live = self.planes.iter().filter(|plane| !plane.is_out);
        let folders: Vec<_> = live.map(ControlPlane::folder).collect();
        let mut logs: Vec<_> = folders.iter().map(|it| it.join("log")).collect();
        let all = self.model.all_sealed().iter();
        let all: Vec<_> = all.map(|(name, it)| (name.clone(), it.log.id)).collect();
        for (name, id) in all {
            let mut places = folders.iter().map(|it| it.join(format!("sealed/{id:06x}")));
            let log = match places.find(|it| it.exists()) {
                Some(log) => log,
                None => {
                    let mut operator = self.operator().await.map_err(|error| broken(&error))?;
                    let sealed = operator.seal(&name, false).await;
                    let sealed = sealed.map_err(|error| broken(&error))?;
                    sealed.folder.ok_or_else(|| is_lost(&name))?
                }
            };
            logs.push(log);
        }
        Ok(logs)
    }

    /// With several, a change is seen by the others a little later, and one that was not answered may
    /// still be under way.
    pub(super) fn lag(&self) -> Lag {
        let is_one = self.planes.len() == 1;
        let of_several = |lag| if is_one { Duration::ZERO } else { lag };
        Lag {
            answered: of_several(SEEN_WITHIN),
            doubtful: of_several(DONE_WITHIN),
        }
    }

    /// Whether a change of this may be asked for: not while one before it may still be done.
    pub(super) fn may_ask(&self, key: &Key) -> bool {
        self.planes.len() == 1 || !self.model.expected.is_doubtful(key)
    }
}
