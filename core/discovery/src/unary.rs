//! The unary dialect: one request, one answer, no session.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use crate::{Limits, Resource, SessionError, Standing, StateRequest, StateResponse, View};

/// Most bytes of resources in one answer. A consumer takes in 4 MiB, as gRPC has it by default: what
/// is longer must not be sent.
pub const MAX_FETCH_BYTES: usize = 3_500 * 1024;

/// An answer, and how many resources had no room in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The answer.
    pub response: StateResponse,
    /// What had no room: ask for it by itself.
    pub left_out: usize,
}

/// Answers a fetch with every named resource that is there, in the order of the names, as long as
/// there is room. A name that is not there is left out; the version is derived from what is in the
/// answer, and empty for an empty answer.
///
/// # Errors
/// A request that breaks a bound.
pub fn fetch(
    request: &StateRequest,
    limits: Limits,
    view: &impl View,
) -> Result<Fetched, SessionError> {
    let type_url = request.type_url.as_str();
    if !view.serves(type_url) {
        return Err(SessionError::UnknownType);
    }
    let names: BTreeSet<&str> = request.names.iter().map(String::as_str).collect();
    if names.len() > limits.names {
        let limit = limits.names;
        return Err(SessionError::TooManyNames { limit });
    }
    if names.iter().any(|name| name.len() > limits.name_bytes) {
        let limit = limits.name_bytes;
        return Err(SessionError::NameTooLong { limit });
    }
    let present = |name: &str| match view.standing(type_url, name) {
        Standing::Present(resource) => Some(resource),
        Standing::Removed | Standing::Absent => None,
    };
    let mut asked = BTreeSet::new();
    let in_order = request.names.iter().filter(|name| asked.insert(*name));
    let (mut resources, mut left_out, mut bytes) = (Vec::new(), 0, 0);
    for resource in in_order.filter_map(|name| present(name)) {
        let weight = resource.weight();
        if bytes + weight <= MAX_FETCH_BYTES {
            bytes += weight;
            resources.push(resource);
        } else {
            left_out += 1;
        }
    }
    resources.sort_by(|a, b| a.name.cmp(&b.name));
    let response = StateResponse {
        type_url: request.type_url.clone(),
        version_info: version_of(&resources),
        nonce: String::new(),
        resources,
    };
    Ok(Fetched { response, left_out })
}

/// The version of a single resource, or the hash over all names and versions.
fn version_of(resources: &[Resource]) -> String {
    match resources {
        [] => String::new(),
        [one] => one.version.to_string(),
        many => {
            let mut hash = Sha256::new();
            for text in many.iter().flat_map(|r| [&r.name, &r.version]) {
                hash.update(text.as_bytes());
                hash.update([0]);
            }
            hex::encode(&hash.finalize()[..16])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{SECRET, World};

    fn ask(names: &[&str]) -> StateRequest {
        StateRequest {
            type_url: SECRET.into(),
            names: names.iter().map(ToString::to_string).collect(),
            ..StateRequest::default()
        }
    }

    #[test]
    fn absent_names_are_left_out() {
        let mut world = World::default();
        world.put("a", "1");
        world.remove("gone");
        let answer = fetch(
            &ask(&["nobody", "a", "gone", "a"]),
            Limits::default(),
            &world,
        )
        .unwrap()
        .response;
        assert_eq!(answer.version_info, "1");
        assert_eq!(answer.resources.len(), 1);
        let nothing = fetch(&ask(&["nobody"]), Limits::default(), &world);
        let nothing = nothing.unwrap().response;
        assert_eq!(
            (nothing.version_info.as_str(), nothing.resources.len()),
            ("", 0)
        );
    }

    #[test]
    fn what_has_no_room_is_told() {
        let mut world = World::default();
        let long = "v".repeat(MAX_FETCH_BYTES / 3);
        for name in ["z", "a", "b"] {
            world.put(name, &long);
        }
        let fetched = fetch(&ask(&["z", "a", "b"]), Limits::default(), &world).unwrap();
        let names: Vec<&str> = fetched
            .response
            .resources
            .iter()
            .map(|r| &*r.name)
            .collect();
        assert_eq!(
            (names, fetched.left_out),
            (vec!["z"], 2),
            "the first that was asked for"
        );
    }

    #[test]
    fn version_follows_content_and_not_order() {
        let mut world = World::default();
        world.put("a", "1");
        world.put("b", "1");
        let version = |world: &World, names: &[&str]| {
            fetch(&ask(names), Limits::default(), world)
                .unwrap()
                .response
                .version_info
        };
        let before = version(&world, &["a", "b"]);
        assert_eq!(before, version(&world, &["b", "a"]));
        world.put("b", "2");
        assert_ne!(before, version(&world, &["a", "b"]));
    }

    #[test]
    fn bounds_hold_for_a_fetch() {
        let world = World::default();
        let limits = Limits {
            names: 1,
            name_bytes: 3,
            ..Limits::default()
        };
        let refused = |request: &StateRequest| fetch(request, limits, &world).unwrap_err();
        assert_eq!(
            refused(&ask(&["a", "b"])),
            SessionError::TooManyNames { limit: 1 }
        );
        assert_eq!(
            refused(&ask(&["long"])),
            SessionError::NameTooLong { limit: 3 }
        );
        let foreign = StateRequest {
            type_url: "foreign".into(),
            ..StateRequest::default()
        };
        assert_eq!(refused(&foreign), SessionError::UnknownType);
    }
}
