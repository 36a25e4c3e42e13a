//! Selectors, and lists of them as they stand in a registration.

use countersign_model::Selector;
use countersign_model::selector::{MAX_SELECTOR_BYTES, MAX_SELECTORS};
use countersign_proto::convert::entitlement::selector_set;

use super::material::{text, texts};

/// A list of lines: what is taken is written as it came.
pub fn run(data: &[u8]) -> bool {
    let Some(text) = text(data) else {
        return false;
    };
    let lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
    for line in &lines {
        if let Ok(selector) = line.parse::<Selector>() {
            assert_eq!(selector.to_string(), *line);
            assert!(line.len() <= MAX_SELECTOR_BYTES);
        }
    }
    let Ok(set) = selector_set(&lines) else {
        return false;
    };
    let written: Vec<String> = set.iter().map(ToString::to_string).collect();
    assert!((1..=MAX_SELECTORS).contains(&written.len()));
    assert_eq!(selector_set(&written), Ok(set));
    true
}

/// One of each kind, and a full list.
pub fn seeds() -> Vec<Vec<u8>> {
    let full: Vec<String> = (0..MAX_SELECTORS)
        .map(|uid| format!("unix:uid:{uid}"))
        .collect();
    texts(&[
        "unix:uid:1000",
        "unix:gid:4294967295",
        "unix:path:/usr/bin/env",
        "unix:uid:0\nunix:gid:0\nunix:path:/bin/a:b",
        &full.join("\n"),
    ])
}
