//! A database that is put back to an older state under control planes that live: none of them goes on with
//! it. Its operator brings back the one that has everything, and starts them again.

use std::fs;
use std::time::Duration;

use countersign_model::Seq;
use countersign_store::memory::Held;

use tokio::time::sleep;

use super::faults::Mend;
use super::{Ended, World};
use crate::control_plane::ControlPlane;
use crate::disk::Loss;
use crate::model::{PlaneCalm, went_on};

/// How old the copy is, at most, in milliseconds; and how old one is that is young.
const OLDEST: u64 = 30_000;
const YOUNG: u64 = 3_000;
/// Every control plane has reached the database for so long.
const QUIET: Duration = Duration::from_secs(5);
/// Within this time every control plane has heard of a commit that the copy lacks.
const HEARD_WITHIN: Duration = Duration::from_millis(100);
/// What says in a data directory that the database was older.
const MARKER: &str = "database-older";

/// What of the database is kept.
#[derive(Debug)]
pub(super) enum Copy {
    /// An older state.
    Older(Held),
    /// The newest state, while an older one is in its place, of which this is the newest commit.
    Newest(Held, Seq),
}

impl World {
    /// A copy is made now, to be put back in a while.
    pub(super) fn copy_database(&mut self) {
        if let (Some(database), None) = (&self.database, &self.copy) {
            self.copy = Some(Copy::Older(database.memory.held()));
            // Younger ones lack the commits of one control plane alone.
            let oldest = if self.random.bool() { OLDEST } else { YOUNG };
            let after = Duration::from_millis(self.random.u64(0..oldest));
            self.later(after, Mend::PutBack);
        }
    }

    /// The copy is put back, where every control plane has heard of a commit that it lacks.
    pub(super) async fn put_back(&mut self) {
        let is_quiet =
            |it: &ControlPlane| it.is_running() && !it.is_out && it.hears_at_once_for(QUIET);
        let all = self.planes.iter().all(is_quiet);
        let (Some(Copy::Older(older)), Some(database)) = (self.copy.take(), &self.database) else {
            return;
        };
        let is_older = older.newest() < database.memory.held().newest();
        if !all || !is_older {
            return;
        }
        sleep(HEARD_WITHIN).await;
        let newest = older.newest();
        self.copy = Some(Copy::Newest(database.memory.put_back(older), newest));
        self.model.planes_are(PlaneCalm::NotServed);
        let lasts = self.lasts(Mend::BringBack);
        self.say(&format!(
            "the database is as it was at commit {} for {lasts:.1?}",
            newest.0
        ));
    }

    /// No copy is put back any more.
    pub(super) fn keep_the_newest(&mut self) {
        self.copy.take_if(|copy| matches!(copy, Copy::Older(_)));
    }

    /// Whether an older database is in the place of the newest: nothing else is disturbed meanwhile.
    pub(super) fn is_put_back(&self) -> bool {
        matches!(self.copy, Some(Copy::Newest(..)))
    }

    /// The newest database is there again.
    pub(super) async fn bring_back(&mut self) -> Result<(), Ended> {
        let (Some(Copy::Newest(newest, before)), Some(database)) =
            (self.copy.take(), &self.database)
        else {
            return Ok(());
        };
        let after = database.memory.put_back(newest).newest();
        if after != before {
            return Err(went_on(before.0, after.0).into());
        }
        self.say("the newest database is there again");
        for plane in 0..self.planes.len() {
            self.planes[plane].kill(&mut Loss::Nothing, false)?;
            let marker = self.planes[plane].folder().join(MARKER);
            if marker.exists() {
                fs::remove_file(marker)?;
            }
            self.start_plane(plane).await?;
        }
        self.calm_plane();
        Ok(())
    }
}
