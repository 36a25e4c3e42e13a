//! What is disturbed on the way between control planes and their database.

use std::time::Duration;

use super::World;
use super::faults::Mend;
use crate::database::{Reach, State};

/// How much longer answers take, at most: longer than the client waits for a few of them.
const SLOWEST: Duration = Duration::from_secs(4);
/// The share of answers that are lost, at most.
const MOST_LOST: f64 = 0.3;

impl World {
    /// One of them, or all.
    pub(super) fn disturb_database(&mut self) {
        let all = self.random.u8(0..4) == 0;
        let plane = (!all).then(|| self.random.usize(0..self.planes.len()));
        let state = self.any_state();
        self.reach_database(plane, state);
        let lasts = self.lasts(Mend::Database(plane));
        self.calm_plane();
        let who = self.who(plane);
        self.say(&format!("the database of {who} for {lasts:.1?}: {state:?}"));
    }

    fn any_state(&mut self) -> State {
        let sound = State::default();
        match self.random.u8(0..5) {
            0 => State {
                reach: Reach::Refused,
                ..sound
            },
            1 => State {
                reach: Reach::Silent,
                ..sound
            },
            2 => State {
                slow: SLOWEST.mul_f64(self.random.f64()),
                ..sound
            },
            3 => State {
                lost: MOST_LOST * self.random.f64(),
                ..sound
            },
            _ => State {
                is_unnoticed: true,
                ..sound
            },
        }
    }

    pub(super) fn mend_database(&mut self, plane: Option<usize>) {
        self.reach_database(plane, State::default());
        self.calm_plane();
        let who = self.who(plane);
        self.say(&format!("the database of {who} is there again"));
    }

    fn reach_database(&mut self, plane: Option<usize>, state: State) {
        // One that is cut off until it is sealed stays so.
        let planes = self.planes.iter_mut().enumerate();
        let concerned = planes.filter(|(at, it)| plane.is_none_or(|it| it == *at) && !it.is_out);
        concerned.for_each(|(_, it)| it.reaches(state));
    }

    fn who(&self, plane: Option<usize>) -> String {
        match plane {
            Some(plane) => self.planes[plane].name.clone(),
            None => "all".to_owned(),
        }
    }
}
