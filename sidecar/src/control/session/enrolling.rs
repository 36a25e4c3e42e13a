//! Enrolments of this session: started when the schedule says so, finished on the stream.

use std::collections::BTreeSet;

use countersign_envoy::SECRET_TYPE;
use countersign_model::{EntitlementId, Lifetime};
use jiff::Timestamp;

use super::{Session, SessionError};
use crate::control::Control;
use crate::control::enrol::{self, EnrolError};
use crate::identity::renew::MAX_CONCURRENT_ENROLMENTS;

impl Session<'_> {
    /// Starts what is due and says when to look again.
    pub(super) fn start_enrolments(
        &mut self,
        demanded: &BTreeSet<EntitlementId>,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let Control {
            holdings,
            renewals,
            installer,
            enrol_ahead,
            ..
        } = &mut *self.control;
        let snapshot = holdings.load();
        let plan = renewals.plan(&snapshot, demanded, *enrol_ahead, now);
        for id in plan.enrol {
            if self.in_flight.len() >= MAX_CONCURRENT_ENROLMENTS {
                break;
            }
            let Some(held) = snapshot.entries.get(&id) else {
                continue;
            };
            if !self.in_flight.insert(id.clone()) {
                continue;
            }
            match renewals.start(&held.entitlement, now) {
                Ok(pending) => {
                    let link = self.link.clone();
                    self.enrolments.spawn(async move {
                        let result = enrol::enrol(link, &id, &pending.key).await;
                        (id, result)
                    });
                }
                Err(error) => {
                    self.in_flight.remove(&id);
                    renewals.failed(&id, now, fastrand::f64());
                    installer.problem(&id, &error.to_string());
                }
            }
        }
        plan.wake
    }

    pub(super) fn enrolled(
        &mut self,
        id: &EntitlementId,
        result: Result<Lifetime, EnrolError>,
        now: Timestamp,
    ) -> Result<(), SessionError> {
        self.in_flight.remove(id);
        let control = &mut *self.control;
        match result {
            Ok(issued) => {
                control.renewals.answered(id, issued, now);
                if let Some(version) = control.installer.held_serial(id) {
                    control.client.hold(SECRET_TYPE, id.as_str(), &version);
                }
                let wanted = control.client.subscribe(SECRET_TYPE, id.as_str());
                wanted.map_or(Ok(()), |request| self.ask(request))
            }
            Err(error) => {
                let (renewals, draw) = (&mut control.renewals, fastrand::f64());
                match error.pushback() {
                    Some(asked) => renewals.pushed_back(id, asked, now, draw),
                    None => renewals.failed(id, now, draw),
                }
                control.metrics.renewal(false);
                control.installer.problem(id, &error.to_string());
                tracing::warn!(entitlement = %id, %error, "enrolment failed");
                Ok(())
            }
        }
    }
}
