//! Enrolments of this session: started when the schedule says so, what is due together in one call;
//! finished on the stream.

use std::collections::BTreeSet;
use std::sync::Arc;

use countersign_envoy::SECRET_TYPE;
use countersign_model::{EntitlementId, Lifetime};
use countersign_proto::MAX_ENROLMENTS;
use jiff::Timestamp;

use super::{Session, SessionError};
use crate::control::Control;
use crate::control::enrol::{self, EnrolError};
use crate::identity::Keypair;
use crate::identity::renew::MAX_CONCURRENT_ENROLMENTS;

/// What became of one call: whose keys it was for, and the answer to each.
pub(super) type Enrolled = (
    Vec<EntitlementId>,
    Result<Vec<Result<Lifetime, EnrolError>>, EnrolError>,
);

impl Session<'_> {
    /// Starts what is due and says when to look again.
    pub(super) fn start_enrolments(
        &mut self,
        demanded: &BTreeSet<EntitlementId>,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let control = &*self.control;
        let snapshot = control.holdings.load();
        let plan = control
            .renewals
            .plan(&snapshot, demanded, control.enrol_ahead, now);
        let mut keys = Vec::new();
        for id in plan.enrol {
            if self.in_flight.len() >= MAX_CONCURRENT_ENROLMENTS {
                break;
            }
            let Some(held) = snapshot.entries.get(&id) else {
                continue;
            };
            if self.in_flight.contains(&id) {
                continue;
            }
            let Control {
                renewals,
                installer,
                draws,
                ..
            } = &mut *self.control;
            match renewals.start(&held.entitlement, now) {
                Ok(pending) => {
                    self.in_flight.insert(id.clone());
                    keys.push((id, pending.key));
                }
                Err(error) => {
                    renewals.failed(&id, now, draws.next());
                    installer.problem(&id, &error.to_string());
                }
            }
        }
        for keys in keys.chunks(MAX_ENROLMENTS) {
            self.call(keys.to_vec());
        }
        plan.wake
    }

    fn call(&mut self, keys: Vec<(EntitlementId, Arc<Keypair>)>) {
        let link = self.link.clone();
        self.enrolments.spawn(async move {
            let answers = enrol::enrol(link, &keys).await;
            (keys.into_iter().map(|(id, _)| id).collect(), answers)
        });
    }

    /// Takes the answers to one call in.
    pub(super) fn enrolled(
        &mut self,
        (ids, answers): Enrolled,
        now: Timestamp,
    ) -> Result<(), SessionError> {
        for id in &ids {
            self.in_flight.remove(id);
        }
        match answers {
            Ok(answers) => {
                let mut answers = ids.iter().zip(answers);
                answers.try_for_each(|(id, answer)| match answer {
                    Ok(issued) => self.certified(id, issued, now),
                    Err(error) => {
                        self.failed(id, &error, now);
                        Ok(())
                    }
                })
            }
            Err(error) => {
                ids.iter().for_each(|id| self.failed(id, &error, now));
                Ok(())
            }
        }
    }

    /// A key is certified: its chain is asked for.
    fn certified(
        &mut self,
        id: &EntitlementId,
        issued: Lifetime,
        now: Timestamp,
    ) -> Result<(), SessionError> {
        let control = &mut *self.control;
        if let Some(skew) = control.renewals.answered(id, issued, now) {
            control.tell_of_clock(skew);
        }
        if let Some(version) = control.installer.held_serial(id) {
            control.client.hold(SECRET_TYPE, id.as_str(), &version);
        }
        let wanted = control.client.subscribe(SECRET_TYPE, id.as_str());
        wanted.map_or(Ok(()), |request| self.ask(request))
    }

    /// A key was not certified, or the answer is lost. The chain of one that was certified may have
    /// come on the stream meanwhile: of that nothing failed.
    fn failed(&mut self, id: &EntitlementId, error: &EnrolError, now: Timestamp) {
        let control = &mut *self.control;
        if control.renewals.pending(id).is_none() {
            return;
        }
        let (renewals, draw) = (&mut control.renewals, control.draws.next());
        match error.pushback() {
            Some(asked) => renewals.pushed_back(id, asked, now, draw),
            None if error.is_denied() => renewals.denied(id, now, draw),
            None => renewals.failed(id, now, draw),
        }
        control.metrics.renewal(false);
        control.installer.problem(id, &error.to_string());
        tracing::warn!(entitlement = %id, %error, "enrolment failed");
        if error.may_be_done_elsewhere() && control.may_find_better() {
            self.unable.get_or_insert_with(|| error.to_string());
        }
        let control = &mut *self.control;
        // Until its end it is served: the right may be registered again.
        if error.is_unknown() && control.installer.drop_expired(id, now) {
            control.renewals.forget(id);
            tracing::info!(entitlement = %id, "expired entitlement dropped, the control plane knows none");
        }
    }
}
