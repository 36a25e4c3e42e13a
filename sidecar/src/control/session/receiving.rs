//! What arrives on the stream: installed, then acknowledged or refused.

use countersign_discovery::{ClientError, DeltaResponse, Nack, NackReason, Received};
use countersign_model::EntitlementId;
use countersign_proto::convert::discovery::MAX_TOKEN_BYTES;
use countersign_proto::discovery::DeltaDiscoveryResponse;
use countersign_proto::mesh::ControlMessage;
use countersign_proto::mesh::control_message::Message as FromControl;
use jiff::Timestamp;
use tokio::time::Instant;

use super::{REFUSED_RETRY, Session, SessionError};
use crate::install::{InstallError, Intake, Verdict};

impl Session<'_> {
    pub(super) fn receive(
        &mut self,
        message: ControlMessage,
        now: Timestamp,
    ) -> Result<(), SessionError> {
        let response = match message.message {
            Some(FromControl::Delta(response)) => response,
            Some(FromControl::ControlPlanes(told)) => {
                self.control.told(&told);
                return Ok(());
            }
            Some(FromControl::Rebalance(wish)) => {
                self.wishes(&wish.address);
                return Ok(());
            }
            // A second Hello says nothing new; an unknown message is from a newer control plane.
            Some(FromControl::Hello(_)) | None => return Ok(()),
        };
        let span = tracing::info_span!("install", type_url = %response.type_url);
        let _entered = span.enter();
        let (type_url, nonce) = name_of(&response);
        let received = match DeltaResponse::try_from(response) {
            Ok(response) => match self.control.client.handle(response) {
                Err(older @ ClientError::Older { .. }) => {
                    return Err(SessionError::Older(older.to_string()));
                }
                received => received.map_err(|error| error.to_string()),
            },
            Err(error) => Err(error.to_string()),
        };
        match received {
            Ok(received) => self.install(&received, now),
            Err(problem) => {
                tracing::warn!(%type_url, %problem, "discovery response refused");
                let nack = Nack::new(NackReason::Validation, &problem);
                let request = self.control.client.refuse(&type_url, &nonce, nack);
                self.ask(request)
            }
        }
    }

    pub(super) fn install(
        &mut self,
        received: &Received,
        now: Timestamp,
    ) -> Result<(), SessionError> {
        let intake = Intake {
            installer: &mut self.control.installer,
            renewals: &mut self.control.renewals,
            metrics: &self.control.metrics,
            draws: &mut self.control.draws,
            stamp: received.stamp,
            now,
        };
        let verdict = intake.take(received);
        self.answer(received, &verdict)?;
        for (type_url, name) in verdict.given_up {
            let given_up = self.control.client.unsubscribe(type_url, &name);
            self.refused.remove(&(type_url.to_owned(), name));
            given_up.map_or(Ok(()), |request| self.ask(request))?;
        }
        for (name, error) in verdict.refused {
            tracing::warn!(%name, %error, "not installed");
            if self.doubts_its_clock(&name, &error, now) {
                continue;
            }
            if error.may_pass() {
                self.refused.insert((received.type_url.clone(), name));
                self.ask_again_at
                    .get_or_insert(Instant::now() + REFUSED_RETRY);
            }
        }
        if verdict.verifies_more {
            // A chain can overtake the bundle that verifies it.
            for change in &verdict.kept {
                let kept = (received.type_url.clone(), change.name().to_owned());
                self.refused.remove(&kept);
            }
            self.ask_again_for_refused()?;
        }
        Ok(())
    }

    /// A chain has times that nobody accepts now. Another control plane is asked, where one may have the right
    /// clock: with another key, since it gives the same certificate for the same one.
    fn doubts_its_clock(&mut self, name: &str, error: &InstallError, now: Timestamp) -> bool {
        let id = EntitlementId::parse(name).filter(|_| error.is_of_another_time());
        let Some(id) = id.filter(|_| self.control.may_find_better()) else {
            return false;
        };
        let draw = self.control.draws.next();
        self.control.renewals.denied(&id, now, draw);
        self.unable.get_or_insert_with(|| error.to_string());
        true
    }

    fn answer(&mut self, received: &Received, verdict: &Verdict) -> Result<(), SessionError> {
        let client = &mut self.control.client;
        let Some((name, error)) = verdict.refused.first() else {
            let installed = Received {
                changes: verdict.kept.clone(),
                ..received.clone()
            };
            let ack = client.accept(&installed);
            return self.ask(ack);
        };
        for change in &verdict.kept {
            if let countersign_discovery::Change::Present(resource) = change {
                client.hold(&resource.type_url, &resource.name, &resource.version);
            }
        }
        let nack = Nack::new(reason_of(error), &format!("{name}: {error}"));
        let nack = client.refuse(&received.type_url, &received.nonce, nack);
        self.ask(nack)
    }

    /// The control plane does not send again by itself what was refused.
    pub(super) fn ask_again_for_refused(&mut self) -> Result<(), SessionError> {
        self.ask_again_at = None;
        for (type_url, name) in std::mem::take(&mut self.refused) {
            let client = &mut self.control.client;
            let (give_up, want) = (
                client.unsubscribe(&type_url, &name),
                client.subscribe(&type_url, &name),
            );
            for request in give_up.into_iter().chain(want) {
                self.ask(request)?;
            }
        }
        Ok(())
    }
}

fn name_of(response: &DeltaDiscoveryResponse) -> (String, String) {
    let cut = |text: &str| text.chars().take(MAX_TOKEN_BYTES).collect();
    (cut(&response.type_url), cut(&response.nonce))
}

fn reason_of(error: &InstallError) -> NackReason {
    match error {
        InstallError::Bundle(_) => NackReason::Bundle,
        InstallError::Key(_) => NackReason::KeyMismatch,
        InstallError::Refused(_) | InstallError::WrongIdentity { .. } => NackReason::Chain,
        InstallError::Malformed(_) => NackReason::Validation,
        _ => NackReason::Other,
    }
}
