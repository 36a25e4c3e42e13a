//! By which word it is told that an address of the control plane was left.

use tonic::Code;

use super::broken::is_broken;
use super::enrol::EnrolError;
use super::error::ControlError;
use super::session::SessionError;
use crate::telemetry::Departure;

/// Why an address is left after this.
pub(super) fn departure(error: &ControlError) -> Departure {
    match error {
        ControlError::Session(error) => of_session(error),
        ControlError::Attest(source)
        | ControlError::Expired { source, .. }
        | ControlError::Unrecognised { source, .. } => match source {
            EnrolError::Refused(status) => of_status(status),
            EnrolError::Deadline => Departure::Silent,
            _ => Departure::Unusable,
        },
        _ => Departure::Unusable,
    }
}

fn of_session(error: &SessionError) -> Departure {
    match error {
        SessionError::Ended(status) => of_status(status),
        SessionError::Silent | SessionError::NoHello => Departure::Silent,
        SessionError::Closed | SessionError::Replaced(_) => Departure::Ended,
        SessionError::Unable(_) => Departure::Unavailable,
        SessionError::Unrecognised(_) => Departure::Refused,
        SessionError::Older(_) => Departure::Older,
        SessionError::Protocol(_) | SessionError::Stalled => Departure::Unusable,
    }
}

fn of_status(status: &tonic::Status) -> Departure {
    if is_broken(status) {
        return Departure::Broken;
    }
    match status.code() {
        Code::Unavailable | Code::ResourceExhausted => Departure::Unavailable,
        Code::PermissionDenied | Code::Unauthenticated => Departure::Refused,
        Code::DataLoss => Departure::Older,
        Code::Ok | Code::Aborted | Code::Cancelled => Departure::Ended,
        _ => Departure::Unusable,
    }
}

#[cfg(test)]
mod tests {
    use tonic::Status;

    use super::*;

    fn of(error: impl Into<SessionError>) -> Departure {
        departure(&ControlError::Session(error.into()))
    }

    #[test]
    fn answer_that_says_no_is_no_broken_connection() {
        let reset = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        assert_eq!(of(Status::from_error(Box::new(reset))), Departure::Broken);
        assert_eq!(of(Status::unavailable("behind")), Departure::Unavailable);
        assert_eq!(of(Status::unauthenticated("who?")), Departure::Refused);
        assert_eq!(of(Status::data_loss("a copy")), Departure::Older);
        assert_eq!(of(SessionError::NoHello), Departure::Silent);
    }
}
