//! The course of the newest rotation of the root, for those who look at it afterwards.

use countersign_fleet::rotation::{Course, Lane, Sighting};
use countersign_proto::admin as wire;
use countersign_proto::convert::time::timestamp;

use crate::plane::Plane;

pub(super) fn of(plane: &Plane) -> wire::LastRotationResponse {
    plane.rotation.newest().map(response).unwrap_or_default()
}

fn response(course: Course) -> wire::LastRotationResponse {
    let succession = course.succession;
    wire::LastRotationResponse {
        old_root: succession.old_root.unwrap_or_default(),
        new_root: succession.new_root,
        bundle_version: succession.bundle_version,
        since: Some(timestamp(course.since)),
        activated_at: course.activated_at.map(timestamp),
        lanes: course.lanes.into_iter().map(lane).collect(),
        lanes_more: course.lanes_more,
    }
}

fn lane((consumer, lane): (String, Lane)) -> wire::RotationLane {
    let failures = lane.failures.into_iter();
    wire::RotationLane {
        consumer,
        acknowledged_at: lane.acknowledged_at.map(timestamp),
        waived: lane.is_waived,
        sightings: lane.sightings.into_iter().map(sighting).collect(),
        sightings_more: lane.sightings_more,
        failures: failures
            .map(|(until, count)| wire::RotationFailures {
                until: Some(timestamp(until)),
                count,
            })
            .collect(),
    }
}

fn sighting(it: Sighting) -> wire::RotationSighting {
    wire::RotationSighting {
        at: Some(timestamp(it.at)),
        id: it.id.to_string(),
        serial: it.serial.to_string(),
        root: it.root,
    }
}
