//! The control planes that share the database, for operators: who is invited, and who is there.

use countersign_authority::{Heartbeat, ListedReplica, RemovedReplica, Replica, SealedReplica};
use countersign_fleet::replicas::ReplicaStanding;
use countersign_proto::admin as wire;
use countersign_proto::convert::time::{read_duration, timestamp};
use tonic::Status;

use super::Operator;
use super::refusing::{invalid, refused};
use crate::plane::Plane;

/// Invites one.
pub(super) async fn invite(
    plane: &Plane,
    operator: Operator,
    asked: wire::InviteReplicaRequest,
) -> Result<wire::InviteReplicaResponse, Status> {
    let ttl = read_duration("ttl", asked.ttl);
    let ttl = ttl.map_err(|error| invalid("invalid_ttl", error.to_string()))?;
    let now = plane.clock.now();
    let invited = plane.authority.invite_replica(&asked.name, ttl, now).await;
    let (invitation, until) = invited.map_err(|error| refused(plane, operator, &error))?;
    Ok(wire::InviteReplicaResponse {
        invitation: invitation.to_text().to_string(),
        until: Some(timestamp(until)),
    })
}

/// Ends the log of one that is gone for good.
pub(super) async fn seal(
    plane: &Plane,
    operator: Operator,
    asked: wire::SealReplicaRequest,
) -> Result<wire::SealReplicaResponse, Status> {
    let now = plane.clock.now();
    let sealed = plane.authority.seal_replica(&asked.name, asked.force, now);
    match sealed.await {
        Ok(sealed) => Ok(wire_of(sealed)),
        Err(error) => Err(refused(plane, operator, &error)),
    }
}

/// Withdraws an invitation, or seals.
pub(super) async fn remove(
    plane: &Plane,
    operator: Operator,
    asked: wire::RemoveReplicaRequest,
) -> Result<wire::RemoveReplicaResponse, Status> {
    let now = plane.clock.now();
    let removed = plane
        .authority
        .remove_replica(&asked.name, asked.force, now);
    let sealed = match removed.await {
        Ok(RemovedReplica::Withdrawn) => None,
        Ok(RemovedReplica::Sealed(sealed)) => Some(wire_of(sealed)),
        Err(error) => return Err(refused(plane, operator, &error)),
    };
    Ok(wire::RemoveReplicaResponse { sealed })
}

fn wire_of(sealed: SealedReplica) -> wire::SealReplicaResponse {
    let folder = sealed.folder.unwrap_or_default();
    wire::SealReplicaResponse {
        log_id: sealed.log_id,
        size: sealed.size,
        root_hash: sealed.root_hash,
        since: Some(timestamp(sealed.since)),
        was_sealed: sealed.was_sealed,
        folder: folder.display().to_string(),
    }
}

/// Raises the level of the database.
pub(super) async fn raise(
    plane: &Plane,
    operator: Operator,
) -> Result<wire::RaiseLevelResponse, Status> {
    let raised = plane.authority.raise_level().await;
    let (_, was_raised) = raised.map_err(|error| refused(plane, operator, &error))?;
    Ok(wire::RaiseLevelResponse {
        level: Some(level(plane)),
        was_raised,
    })
}

/// The level of the database, and who holds it back.
pub(super) fn level(plane: &Plane) -> wire::Level {
    let (speaks, levels) = plane.authority.levels();
    wire::Level {
        level: levels.level.0,
        speaks: speaks.0,
        held_back_by: levels.in_the_way(speaks).map(str::to_owned).collect(),
    }
}

/// All of them, by name.
pub(super) async fn list(plane: &Plane) -> wire::ListReplicasResponse {
    plane.authority.look_at_levels().await;
    wire::ListReplicasResponse {
        items: all(plane),
        level: Some(level(plane)),
    }
}

/// The same for a status.
pub(super) fn all(plane: &Plane) -> Vec<wire::Replica> {
    let listed = plane.authority.listed_replicas(plane.clock.now());
    let (_, levels) = plane.authority.levels();
    let speaking = |it: ListedReplica| {
        let speaks = levels.speaks(&it.name).filter(|_| it.replica.is_joined());
        wire::Replica {
            speaks: speaks.map(|level| level.0),
            ..row(it)
        }
    };
    listed.into_iter().map(speaking).collect()
}

fn row(it: ListedReplica) -> wire::Replica {
    let (state, since, until) = match &it.replica {
        Replica::Invited { until, .. } => ("invited", None, Some(*until)),
        Replica::Joined { since, .. } => ("joined", Some(*since), None),
        Replica::Sealed { since, .. } => ("sealed", Some(*since), None),
    };
    let ReplicaStanding {
        state: standing,
        since: standing_since,
        needs_attention,
        lag,
        clock_ahead,
    } = it.standing;
    let ca = it.issuing;
    let row = wire::Replica {
        name: it.name,
        state: state.to_owned(),
        answers: it.answers,
        log_id: it.replica.log_id(),
        since: since.map(timestamp),
        until: until.map(timestamp),
        issuing_ca_not_after: ca.as_ref().map(|ca| timestamp(ca.not_after)),
        issuing_ca: ca.map_or_else(String::new, |ca| ca.key_id),
        standing: standing.to_owned(),
        standing_since: standing_since.map(timestamp),
        needs_attention,
        lag,
        clock_ahead_secs: clock_ahead.map(|ahead| ahead.as_secs()),
        ends_by_time: it.ends_by_time,
        sealed_entries: it.sealing.map(|sealing| sealing.entries),
        sealed_of: it.sealing.map(|sealing| sealing.of),
        ..wire::Replica::default()
    };
    told(row, it.said)
}

/// With what it last said of itself. What was written in its place tells nothing of it.
fn told(row: wire::Replica, said: Option<Heartbeat>) -> wire::Replica {
    let Some(said) = said.filter(|said| !said.version.is_empty()) else {
        return row;
    };
    wire::Replica {
        version: Some(said.version),
        sequence: Some(said.sequence),
        streams: Some(said.streams),
        certifies: said.certifies,
        address: said.address,
        last_seen: Some(timestamp(said.at)),
        ..row
    }
}
