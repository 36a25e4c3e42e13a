//! Registering: one registration, or many that stand together or not at all.

use std::collections::BTreeSet;

use countersign_authority::{Field, Mode, RegistrationRequest, Written};
use countersign_proto::admin::applied::Outcome;
use countersign_proto::{CODE_KEY, REMEDY_KEY, admin as wire};
use countersign_refusal::Denied;
use jiff::Timestamp;
use tonic::Status;

use super::Operator;
use super::refusing::{invalid, refused};
use super::registration::{read, said, written};
use crate::plane::Plane;

pub(super) async fn register(
    plane: &Plane,
    operator: Operator,
    request: wire::RegisterRequest,
) -> Result<wire::RegisterResponse, Status> {
    let now = plane.clock.now();
    let is_dry_run = request.dry_run;
    let asked = asked(request, now)?;
    let registered = plane.authority.register(asked, is_dry_run, now).await;
    match registered {
        Ok(it) => Ok(response(&it)),
        Err(error) if is_dry_run => Err(super::refusing::status(&error)),
        Err(error) => Err(refused(plane, operator, &error)),
    }
}

/// What does not read is refused as what no rule allows: the answer tells of all of them at once.
pub(super) async fn apply(
    plane: &Plane,
    operator: Operator,
    request: wire::ApplyRequest,
) -> Result<wire::ApplyResponse, Status> {
    let now = plane.clock.now();
    let asked = request.registrations.into_iter();
    let asked: Vec<_> = asked.map(|it| read(it, now)).collect();
    let reads = asked.iter().all(Result::is_ok);
    let is_dry_run = request.dry_run || !reads;
    let readable = asked.iter().flatten().cloned().collect();
    let applied = plane.authority.apply(readable, is_dry_run, now).await;
    let applied = applied.map_err(|error| refused(plane, operator, &error))?;
    let mut judged = applied.items.into_iter();
    let items = asked.into_iter().map(|read| match read {
        Err(unread) => unreadable(&unread),
        Ok(_) => match judged.next().expect("each that reads is judged") {
            Ok(written) => Outcome::Written(response(&written)),
            Err(denied) => denial(plane, operator, denied, request.dry_run),
        },
    });
    let items = items.map(|outcome| wire::Applied {
        outcome: Some(outcome),
    });
    Ok(wire::ApplyResponse {
        items: items.collect(),
        committed: applied.is_committed,
    })
}

/// A dry run asks for nothing: the issuance log does not tell of what it would not be given.
fn denial(plane: &Plane, operator: Operator, denied: Denied, is_dry_run: bool) -> Outcome {
    let told = wire::Refused {
        code: denied.code.to_owned(),
        message: denied.to_string(),
        remedy: denied.remedy.to_owned(),
    };
    if !is_dry_run {
        // What is said of it is told in its place.
        drop(refused(plane, operator, &denied.into()));
    }
    Outcome::Refused(told)
}

fn unreadable(status: &Status) -> Outcome {
    let told = |key| {
        let value = status.metadata().get(key);
        let value = value.and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    Outcome::Refused(wire::Refused {
        code: told(CODE_KEY),
        message: status.message().to_owned(),
        remedy: told(REMEDY_KEY),
    })
}

fn asked(request: wire::RegisterRequest, now: Timestamp) -> Result<RegistrationRequest, Status> {
    let mode = request.mode();
    let asked = request.registration.unwrap_or_default();
    let mode = match mode {
        wire::RegisterMode::Unspecified => {
            return Err(invalid(
                "invalid_mode",
                "the mode is MERGE, REPLACE or CREATE",
            ));
        }
        wire::RegisterMode::Merge => Mode::Merge(given(&request.given, &asked)?),
        wire::RegisterMode::Replace => Mode::Replace,
        wire::RegisterMode::Create => Mode::Create,
    };
    let asked = read(asked, now)?;
    Ok(RegistrationRequest { mode, ..asked })
}

/// The fields that a merge writes. One that has a value and is not among them would be lost.
fn given(names: &[String], asked: &wire::Registration) -> Result<BTreeSet<Field>, Status> {
    let fields = names.iter().map(|name| name.parse());
    let fields: Result<BTreeSet<Field>, _> = fields.collect();
    let fields = fields.map_err(|error| invalid("invalid_field", error.to_string()))?;
    match said(asked).difference(&fields).next() {
        None => Ok(fields),
        Some(field) => Err(invalid(
            "field_not_given",
            format!("{field} has a value, and `given` does not name it"),
        )),
    }
}

fn response(it: &Written) -> wire::RegisterResponse {
    wire::RegisterResponse {
        registration: Some(written(&it.registration)),
        before: it.before.as_ref().map(written),
        changed: it.changed.iter().map(ToString::to_string).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(mode: wire::RegisterMode, given: &[&str]) -> wire::RegisterRequest {
        wire::RegisterRequest {
            registration: Some(wire::Registration {
                id: "spiffe://example.org/web".to_owned(),
                by_hand: true,
                dns: vec!["web.example.org".to_owned()],
                ..wire::Registration::default()
            }),
            mode: mode.into(),
            given: given.iter().map(|&name| name.to_owned()).collect(),
            dry_run: false,
        }
    }

    #[test]
    fn who_writes_says_how() {
        use wire::RegisterMode::{Merge, Replace, Unspecified};
        for (request, message) in [
            (request(Unspecified, &[]), "the mode is"),
            (request(Merge, &[]), "dns has a value"),
            (request(Merge, &["owner"]), "dns has a value"),
            (request(Merge, &["dns", "id"]), "a field is owner"),
        ] {
            let refused = asked(request, Timestamp::UNIX_EPOCH).unwrap_err();
            assert_eq!(refused.code(), tonic::Code::InvalidArgument);
            assert!(refused.message().contains(message), "{refused}");
        }
        let merged = asked(request(Merge, &["dns", "hint"]), Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(merged.mode, Mode::Merge([Field::Dns, Field::Hint].into()));
        let replaced = asked(request(Replace, &[]), Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(replaced.mode, Mode::Replace);
    }
}
