//! Waivers, for operators: a pending root goes on without who does not acknowledge.

use countersign_authority::{ABSENT, Waiver};
use countersign_proto::admin as wire;
use countersign_proto::convert::time::{read_duration, timestamp};
use jiff::Timestamp;
use tonic::Status;

use super::Operator;
use super::refusing::{act, described, invalid, refused};
use crate::plane::{Laggard, Plane, Waiting};

/// Waives consumers that the pending root waits for, and no others: a mistyped name opens nothing. Or
/// whoever is absent.
pub(super) async fn waive(
    plane: &Plane,
    operator: Operator,
    asked: wire::WaiveRequest,
) -> Result<wire::WaiveResponse, Status> {
    let act = act(plane, operator, &asked.reason)?;
    let lasting = read_duration("lasting", asked.lasting);
    let lasting = lasting.map_err(|error| invalid("invalid_duration", error.to_string()))?;
    let (authority, now) = (&plane.authority, plane.clock.now());
    let consumers = match (asked.absent, asked.consumers) {
        (true, named) if !named.is_empty() => return Err(names_and_absent()),
        (true, _) => vec![ABSENT.to_owned()],
        (false, named) => {
            check_waited_for(plane, &named, now)?;
            named
        }
    };
    let waived = authority.waive(consumers, lasting, act, now).await;
    let waiver = waived.map_err(|error| refused(plane, operator, &error))?;
    plane.fleet.touch();
    let waiting = plane.waiting_for();
    Ok(wire::WaiveResponse {
        until: Some(timestamp(waiver.until)),
        root: waiver.root,
        waiting_for: waiting.names(),
        waiting_for_more: waiting.more,
        laggards: laggards(&waiting),
    })
}

/// Takes a waiver back.
pub(super) async fn unwaive(
    plane: &Plane,
    operator: Operator,
    asked: wire::UnwaiveRequest,
) -> Result<wire::UnwaiveResponse, Status> {
    let (operator_name, now) = (operator.to_string(), plane.clock.now());
    let unwaived = plane.authority.unwaive(asked.consumer, operator_name, now);
    let unwaived = unwaived.await;
    unwaived.map_err(|error| refused(plane, operator, &error))?;
    Ok(wire::UnwaiveResponse {})
}

/// Those whom a rotation waits for, as they are told.
pub(super) fn laggards(waiting: &Waiting) -> Vec<wire::Laggard> {
    let laggard = |it: &Laggard| wire::Laggard {
        name: it.name.clone(),
        connected: it.connected,
        until: it.until.map(timestamp),
        replica: it.replica.clone().unwrap_or_default(),
    };
    waiting.first.iter().map(laggard).collect()
}

/// A waiver as it is listed.
pub(super) fn shown((consumer, waiver): (String, Waiver)) -> wire::Waiver {
    wire::Waiver {
        consumer,
        reason: waiver.reason,
        since: Some(timestamp(waiver.since)),
        until: Some(timestamp(waiver.until)),
    }
}

fn check_waited_for(plane: &Plane, named: &[String], now: Timestamp) -> Result<(), Status> {
    let (laggards, held) = (plane.laggards(), plane.authority.waivers(now));
    let is_known = |name: &&String| {
        laggards.iter().any(|it| it.name == **name)
            || held.iter().any(|(waived, _)| waived == *name)
    };
    match named.iter().find(|name| !is_known(name)) {
        Some(stranger) if plane.authority.prepared_root().is_some() => {
            Err(not_waited_for(stranger))
        }
        _ => Ok(()),
    }
}

fn names_and_absent() -> Status {
    invalid(
        "waiver_consumers",
        "a call waives consumers by name, or whoever is absent".to_owned(),
    )
}

fn not_waited_for(consumer: &str) -> Status {
    described(
        Status::not_found(format!("the pending root does not wait for {consumer:?}")),
        "not_waited_for",
        "name a consumer as `countersign ca status` does",
    )
}
