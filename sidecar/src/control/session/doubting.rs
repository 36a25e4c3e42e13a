//! A control plane that has fallen silent: another is looked for while its stream goes on.
//!
//! Where another is reached first, the silent one is left. Where it speaks again before that, or no other is
//! reached, its stream stays: what is merely busy must not be made to greet everybody anew.

use tokio::time::Instant;

use super::{Session, SessionError};
use crate::control::silence::{Doubt, Finding, SURE_AFTER};

impl Session<'_> {
    /// Looks whether it is silent; when to look again, if ever.
    pub(super) fn look_for_silence(
        &mut self,
        now: Instant,
    ) -> Result<Option<Instant>, SessionError> {
        let patience = self.control.addresses.patience(now);
        let Some(patience) = patience.silence_of(self.link.asks_every()) else {
            return Ok(None);
        };
        let heard_at = self.link.heard_at();
        if let Some(doubt) = &mut self.doubt {
            if doubt.is_over(heard_at) {
                tracing::debug!("the control plane speaks again");
                (self.doubt, self.moving) = (None, None);
            }
            return Ok(Some(now + SURE_AFTER));
        }
        match self.silence.look(heard_at, patience, now) {
            Finding::LookAgain(at) => Ok(Some(at)),
            Finding::Silent => {
                self.look_elsewhere(heard_at, now)?;
                Ok(Some(now + SURE_AFTER))
            }
        }
    }

    fn look_elsewhere(&mut self, heard_at: Instant, now: Instant) -> Result<(), SessionError> {
        tracing::debug!("the control plane is silent, another is looked for");
        self.control.addresses.was_silent(now);
        self.doubt = Some(Doubt::since(heard_at));
        if self.moved.is_none() {
            let way = self.control.way_elsewhere();
            // Where none can be looked for beside this one, it has to be left first.
            self.moving = Some(way.ok_or(SessionError::Silent)?);
        }
        Ok(())
    }
}
