//! From the values of a file to registrations: every key is known, every value reads.

use std::time::Duration;

use countersign_cli::duration;
use countersign_model::{Criticality, Selector, SpiffeId};
use countersign_proto::admin::Registration;
use countersign_proto::convert::time::timestamp;

use super::map::Map;
use super::tree::{Node, Value};
use super::{Entry, MAX_MISTAKES, Mistake};
use crate::times;

/// The one version of the shape.
const VERSION: &str = "1";
const DOCUMENT: [&str; 2] = ["version", "registrations"];
const REGISTRATION: [&str; 12] = [
    "id",
    "node",
    "by_hand",
    "selectors",
    "owner",
    "criticality",
    "labels",
    "x509_ttl",
    "dns",
    "hint",
    "default",
    "expires_at",
];

/// The registrations of all documents; what is wrong goes to `mistakes`.
pub(super) fn registrations(documents: &[Node], mistakes: &mut Vec<Mistake>) -> Vec<Entry> {
    let mut entries = Vec::new();
    for document in documents {
        if mistakes.len() > MAX_MISTAKES {
            break;
        }
        if matches!(document.value, Value::Nothing) {
            continue;
        }
        let Some(map) = Map::of(document, "", &DOCUMENT, mistakes) else {
            continue;
        };
        if let Some(version) = map.text("version", mistakes).filter(|it| it != VERSION) {
            let problem = format!("version {version} is not one that is read");
            let at = map.find("version").unwrap_or(document);
            mistakes.push(at.mistake("version", &problem, "write version: 1, or leave it out"));
        }
        let Some(list) = map.list("registrations", mistakes) else {
            if map.find("registrations").is_none() {
                let remedy = "write a list under registrations:";
                mistakes.push(document.mistake("", "no registrations are here", remedy));
            }
            continue;
        };
        for item in list {
            if mistakes.len() > MAX_MISTAKES {
                break;
            }
            let path = format!("registrations[{}]", entries.len());
            let registration = registration(item, &path, mistakes);
            entries.push(Entry {
                registration: registration.unwrap_or_default(),
                place: item.place(&path),
            });
        }
    }
    entries
}

fn registration(node: &Node, path: &str, mistakes: &mut Vec<Mistake>) -> Option<Registration> {
    let map = Map::of(node, path, &REGISTRATION, mistakes)?;
    let by_hand = map.flag("by_hand", mistakes);
    let selectors: Vec<Selector> = map.parsed_list("selectors", "unix:uid:1000", mistakes);
    let id: Option<SpiffeId> = map.parsed("id", "spiffe://example.org/web", mistakes);
    let on: Option<SpiffeId> = map.parsed("node", "spiffe://example.org/node/a", mistakes);
    map.required("id", mistakes);
    map.required("owner", mistakes);
    match by_hand {
        false => {
            map.required("node", mistakes);
            map.required("selectors", mistakes);
        }
        true => ["node", "selectors", "hint"]
            .into_iter()
            .for_each(|key| map.not_by_hand(key, mistakes)),
    }
    let criticality: Option<Criticality> = map.parsed("criticality", "critical", mistakes);
    let ttl = map.read("x509_ttl", duration::argument, mistakes);
    let expires_at = map.read("expires_at", times::moment, mistakes);
    Some(Registration {
        id: id.map_or_else(String::new, |id| id.to_string()),
        node: on.map_or_else(String::new, |node| node.to_string()),
        by_hand,
        selectors: selectors.iter().map(ToString::to_string).collect(),
        owner: map.text("owner", mistakes).unwrap_or_default(),
        criticality: criticality.map_or("", Criticality::as_str).to_owned(),
        labels: map.labels(mistakes),
        x509_ttl: ttl.and_then(|ttl: Duration| ttl.try_into().ok()),
        dns: map.texts("dns", mistakes),
        hint: map.text("hint", mistakes).unwrap_or_default(),
        is_default: map.flag("default", mistakes),
        expires_at: expires_at.map(timestamp),
        ..Registration::default()
    })
}
