//! What is asked of two control planes at the same moment.

use std::time::Duration;

use countersign_sidecar::simulated::Held;
use tokio::time::{Instant, sleep};

use super::{Ended, World};
use crate::control_plane::ControlPlane;
use crate::model::twice;
use crate::node::Node;
use crate::operator::{NotDone, Operator};

/// How long the holders of one token are watched.
const WATCHED: Duration = Duration::from_secs(20);
/// How often they are looked at.
const LOOK: Duration = Duration::from_millis(250);

impl World {
    /// Two of them that run, if there are so many.
    fn two_planes(&mut self) -> Option<[usize; 2]> {
        let running = (0..self.planes.len()).filter(|at| {
            let plane = &self.planes[*at];
            plane.is_running() && !plane.is_out
        });
        let mut running: Vec<_> = running.collect();
        self.random.shuffle(&mut running);
        match *running {
            [one, other, ..] => Some([one, other]),
            _ => None,
        }
    }

    /// The same registration is made at one and made, or removed, at another.
    pub(super) async fn race_change(&mut self) -> Result<(), Ended> {
        let (Some([one, other]), key) = (self.two_planes(), self.any_key()) else {
            return Ok(());
        };
        if !self.may_ask(&key) {
            return Ok(());
        }
        let is_same = self.random.bool();
        let connected = [one, other].map(|at| Operator::connect(self.planes[at].connect()));
        let [one, other] = connected;
        let (Ok(mut one), Ok(mut other)) = tokio::join!(one, other) else {
            return Ok(());
        };
        let before = self.model.expected.asked(&key);
        let second = async {
            match is_same {
                true => other.register(&key).await,
                false => other.unregister(&key).await,
            }
        };
        let (first, second) = tokio::join!(one.register(&key), second);
        let what = if is_same {
            "registered"
        } else {
            "unregistered"
        };
        match (&first, &second) {
            (Ok(()), Ok(()) | Err(NotDone::Refused(_))) if is_same => {
                self.model.expected.answered(&key, true, self.clock.now());
                self.say(&format!("{key} registered on two"));
            }
            (Err(NotDone::Refused(_)), Err(NotDone::Refused(_))) => {
                self.model.expected.refused(&key, before);
                self.say(&format!("{key} refused on two"));
            }
            _ => self.say(&format!(
                "{key} registered and {what} at once: {first:?}, {second:?}"
            )),
        }
        Ok(())
    }

    /// What one did is undone by another a moment later, which may not have heard of it.
    pub(super) async fn undo_elsewhere(&mut self) -> Result<(), Ended> {
        let (Some([one, other]), key) = (self.two_planes(), self.any_key()) else {
            return Ok(());
        };
        if !self.may_ask(&key) {
            return Ok(());
        }
        let mut is_present = self.model.expected.present_since(&key).is_some();
        let connected = [one, other].map(|at| Operator::connect(self.planes[at].connect()));
        let [one, other] = connected;
        let (Ok(one), Ok(other)) = tokio::join!(one, other) else {
            return Ok(());
        };
        for mut operator in [one, other] {
            is_present = !is_present;
            let before = self.model.expected.asked(&key);
            let done = match is_present {
                true => operator.register(&key).await,
                false => operator.unregister(&key).await,
            };
            let goes_on = done.is_ok();
            self.answered(&key, is_present, before, done);
            if !goes_on {
                break;
            }
        }
        Ok(())
    }

    /// Two machines have the same token, and show it to two control planes.
    pub(super) async fn race_token(&mut self) -> Result<(), Ended> {
        let Some(planes) = self.two_planes() else {
            return Ok(());
        };
        self.raced += 1;
        let addresses = planes.map(|at| ControlPlane::address_of(self.planes[at].machine));
        let mut twins = Vec::new();
        for (at, address) in (1..).zip(addresses) {
            let address = format!("\"https://{address}\"");
            twins.push(Node::twin(self.raced, at, self.network.clone(), address)?);
        }
        let brought = async {
            let mut operator = self.operator().await?;
            let bundle = operator.bundle().await?;
            Ok::<_, NotDone>((bundle, operator.token(twins[0].spiffe_id()).await?))
        };
        let Ok((bundle, token)) = brought.await else {
            return Ok(());
        };
        for twin in &mut twins {
            twin.provision(&bundle, &token)?;
            twin.start()?;
        }
        let attested = self.watched(&twins).await;
        for twin in &mut twins {
            twin.end().await?;
        }
        self.say(&format!(
            "one token was good for {attested} of two machines"
        ));
        match attested {
            0 | 1 => Ok(()),
            _ => Err(twice(&twins[0].spiffe_id()).into()),
        }
    }

    /// How many of them have an identity in the end.
    async fn watched(&self, twins: &[Node]) -> usize {
        let end = Instant::now() + WATCHED;
        let mut attested = vec![false; twins.len()];
        while Instant::now() < end {
            sleep(LOOK).await;
            for (has, twin) in attested.iter_mut().zip(twins) {
                let held = twin.held().map(Held::rights).unwrap_or_default();
                *has |= held.iter().any(|right| right.credential.is_some());
            }
        }
        attested.into_iter().filter(|has| *has).count()
    }
}
