//! What the operator does.

use super::faults::Mend;
use super::machines::AGAIN;
use super::{Ended, World, broken};
use crate::defects::Defect;
use crate::model::Before;
use crate::node::MOST_IDENTITIES;
use crate::operator::{Key, NotDone, Operator};

/// Tokens of a run that two machines have, at most.
const MOST_RACED: u8 = 4;

impl World {
    /// The operator acts, or something is disturbed.
    pub(super) async fn act(&mut self) -> Result<(), Ended> {
        match self.random.u8(0..22) {
            0..=4 => self.register().await,
            5..=8 => self.unregister().await,
            9 => self.rotate(false).await,
            10 => self.rotate(true).await,
            11 => self.list().await,
            12 => self.race_change().await,
            13 => self.undo_elsewhere().await,
            14 if self.raced < MOST_RACED => self.race_token().await,
            15 if self.random.bool() => self.evict().await,
            16 => self.waive().await,
            _ => self.disturb().await,
        }
    }

    /// Starts a node for the first time.
    pub(super) async fn admit(&mut self, node: usize) -> Result<(), Ended> {
        self.provision(node)
            .await?
            .map_err(|error| broken(&error))?;
        let node = &mut self.nodes[node];
        node.start()?;
        self.model.disturbed(&node.spiffe_id(), false);
        let name = node.name();
        self.say(&format!("{name} started for the first time"));
        Ok(())
    }

    /// Brings bundle and token to a node.
    async fn provision(&mut self, node: usize) -> Result<Result<(), NotDone>, Ended> {
        let brought = async {
            let mut operator = self.operator().await?;
            let bundle = operator.bundle().await?;
            Ok((bundle, operator.token(self.nodes[node].spiffe_id()).await?))
        };
        let (bundle, token) = match brought.await {
            Ok(brought) => brought,
            Err(error) => return Ok(Err(error)),
        };
        self.nodes[node].provision(&bundle, &token)?;
        Ok(Ok(()))
    }

    /// Brings bundle and token again to a node that cannot attest by itself: its credential ended while it
    /// was cut off, or the root was replaced before it had one.
    pub(super) async fn help(&mut self) -> Result<(), Ended> {
        let now = self.clock.now();
        for node in 0..self.nodes.len() {
            let is_left_behind = self.model.is_left_behind(&self.nodes[node].spiffe_id());
            if !self.nodes[node].needs_help(is_left_behind, now) {
                continue;
            }
            let name = self.nodes[node].name();
            match self.provision(node).await? {
                Ok(()) => self.say(&format!("{name} gets bundle and token again")),
                Err(error) => {
                    // It waits for its operator from here on, and they try again.
                    self.model.disturbed(&self.nodes[node].spiffe_id(), true);
                    self.later(AGAIN, Mend::Admission(node));
                    self.say(&format!("{name} cannot be helped: {error}"));
                }
            }
        }
        Ok(())
    }

    pub(super) fn any_key(&mut self) -> Key {
        let node = self.random.usize(0..self.nodes.len());
        let name = self.random.u8(1..=MOST_IDENTITIES);
        let node = &self.nodes[node];
        Key {
            id: node.identity(name),
            node: node.spiffe_id(),
        }
    }

    pub(super) async fn register(&mut self) -> Result<(), Ended> {
        let key = self.any_key();
        match self.may_ask(&key) {
            true => self.change(&key, true).await,
            false => Ok(()),
        }
    }

    async fn unregister(&mut self) -> Result<(), Ended> {
        let present: Vec<_> = self.model.expected.present().cloned().collect();
        match self.random.choice(&present) {
            Some(key) => self.change(key, false).await,
            None => Ok(()),
        }
    }

    async fn change(&mut self, key: &Key, is_present: bool) -> Result<(), Ended> {
        let before = self.model.expected.asked(key);
        let done = match self.operator().await {
            Ok(mut operator) if is_present => operator.register(key).await,
            Ok(mut operator) => operator.unregister(key).await,
            // Nothing was asked.
            Err(error) => {
                self.model.expected.refused(key, before);
                self.say(&format!("{key}: not asked, {error}"));
                return Ok(());
            }
        };
        self.answered(key, is_present, before, done);
        Ok(())
    }

    /// Asks for a change, and kills the control plane so many steps later.
    pub(super) async fn change_and_kill(
        &mut self,
        plane: usize,
        steps: u64,
        has_power: bool,
    ) -> Result<(), Ended> {
        let key = self.any_key();
        if !self.may_ask(&key) {
            return self.end_control_plane(plane, has_power);
        }
        // What changes nothing is not cut short.
        let is_present = self.model.expected.present_since(&key).is_none();
        let Ok(mut operator) = Operator::connect(self.planes[plane].connect()).await else {
            return self.end_control_plane(plane, has_power);
        };
        let before = self.model.expected.asked(&key);
        let mut call = Box::pin(async {
            match is_present {
                true => operator.register(&key).await,
                false => operator.unregister(&key).await,
            }
        });
        let early = tokio::select! {
            biased;
            done = &mut call => Some(done),
            () = self.steps.pass(steps) => None,
        };
        self.end_control_plane(plane, has_power)?;
        let done = match early {
            Some(done) => done,
            None if self.defect == Some(Defect::AcknowledgedEarly) => Ok(()),
            None => call.await,
        };
        self.answered(&key, is_present, before, done);
        Ok(())
    }

    pub(super) fn answered(
        &mut self,
        key: &Key,
        is_present: bool,
        before: Before,
        done: Result<(), NotDone>,
    ) {
        let verb = match is_present {
            true => "registered",
            false => "unregistered",
        };
        match done {
            Ok(()) => {
                let (expected, now) = (&mut self.model.expected, self.clock.now());
                match is_present {
                    true => expected.confirmed(key, before, now),
                    false => expected.answered(key, false, now),
                }
                self.say(&format!("{key} {verb}"));
            }
            Err(NotDone::Refused(status)) => {
                self.model.expected.refused(key, before);
                self.say(&format!("{key} not {verb}: {}", status.message()));
            }
            Err(error) => self.say(&format!("{key} perhaps {verb}: {error}")),
        }
    }

    async fn rotate(&mut self, is_root: bool) -> Result<(), Ended> {
        let begun = match self.operator().await {
            Ok(mut operator) => operator.rotate(is_root).await,
            Err(error) => Err(error),
        };
        let what = if is_root { "root" } else { "issuing CA" };
        match begun {
            Ok(key_id) => self.say(&format!("{what} is replaced by {key_id}")),
            Err(error) => self.say(&format!("{what} is not replaced: {error}")),
        }
        Ok(())
    }

    /// Puts a node out. It gets bundle and token again after a while.
    async fn evict(&mut self) -> Result<(), Ended> {
        let node = self.random.usize(0..self.nodes.len());
        let (name, id) = (self.nodes[node].name(), self.nodes[node].spiffe_id());
        let evicted = match self.operator().await {
            Ok(mut operator) => {
                // Done or not: nobody waits for it from here on.
                self.model.evicted(&id);
                operator.evict(id).await
            }
            Err(error) => Err(error),
        };
        match evicted {
            Ok(()) => self.say(&format!("{name} is evicted")),
            Err(error) => self.say(&format!("{name} is perhaps evicted: {error}")),
        }
        self.lasts(Mend::Admission(node));
        Ok(())
    }

    /// Bundle and token for a node that may not be recognised any more.
    pub(super) async fn admit_again(&mut self, node: usize) -> Result<(), Ended> {
        let name = self.nodes[node].name();
        match self.provision(node).await? {
            Ok(()) => {
                self.calm(node);
                self.say(&format!("{name} gets bundle and token anew"));
            }
            Err(error) => {
                self.say(&format!("{name} cannot be admitted: {error}"));
                self.later(AGAIN, Mend::Admission(node));
            }
        }
        Ok(())
    }

    /// Goes on without one of those who hold a root back.
    async fn waive(&mut self) -> Result<(), Ended> {
        let asked = async {
            let mut operator = self.operator().await?;
            let laggards = operator.laggards().await?;
            Ok::<_, NotDone>((operator, laggards))
        };
        let (mut operator, laggards) = match asked.await {
            Ok(asked) => asked,
            Err(error) => {
                self.say(&format!("nobody is waived: {error}"));
                return Ok(());
            }
        };
        let Some(name) = self.random.choice(laggards) else {
            return Ok(());
        };
        self.model.waived(&name);
        match operator.waive(name.clone()).await {
            Ok(()) => self.say(&format!("{name} is waived")),
            Err(error) => self.say(&format!("{name} is perhaps waived: {error}")),
        }
        Ok(())
    }

    /// What a control plane says of registrations is what was acknowledged, by whichever of them.
    pub(super) async fn list(&mut self) -> Result<(), Ended> {
        let plane = self.random.usize(0..self.planes.len());
        self.list_of(plane).await
    }

    pub(super) async fn list_of(&mut self, plane: usize) -> Result<(), Ended> {
        let name = self.planes[plane].name.clone();
        let listed = match Operator::connect(self.planes[plane].connect()).await {
            Ok(mut operator) => operator.list().await,
            Err(error) => Err(error),
        };
        match listed {
            Ok(keys) => {
                self.say(&format!("{name} lists {} registrations", keys.len()));
                // One that is cut off from the database tells what it knows.
                if !self.planes[plane].is_up_to_date() {
                    return Ok(());
                }
                let (lag, now) = (self.lag(), self.clock.now());
                Ok(self.model.expected.listed(&keys, lag, now)?)
            }
            Err(error) => {
                self.say(&format!("{name} lists nothing: {error}"));
                Ok(())
            }
        }
    }
}
