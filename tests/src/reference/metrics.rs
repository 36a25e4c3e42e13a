//! Every metric that the sources register is on a page: the pages are made from a scrape in which
//! everything was counted once, and what was forgotten there is found here.

use countersign_reference::written;

use crate::rules::source::{Source, production};

/// Calls whose first argument is the name of a metric.
const CALLS: [&str; 3] = ["register(", "register_with_unit(", "encode_descriptor("];

fn names(source: &Source) -> Vec<&str> {
    let mut names = Vec::new();
    for call in CALLS {
        for (at, _) in source.text.match_indices(call) {
            let argument = source.text[at + call.len()..].trim_start();
            let name = argument
                .strip_prefix('"')
                .and_then(|it| it.split('"').next());
            names.extend(name);
        }
    }
    names
}

#[test]
fn every_registered_metric_is_on_a_page() {
    let pages = ["control-plane-metrics.md", "sidecar-metrics.md"]
        .map(written)
        .concat();
    let is_listed = |name: &str| {
        ["", "_total", "_seconds"]
            .iter()
            .any(|end| pages.contains(&format!("`countersign_{name}{end}`")))
    };
    let sources = production();
    let names: Vec<_> = sources.iter().flat_map(names).collect();
    assert!(names.len() > 25, "only {names:?}");
    let missing: Vec<_> = names.iter().filter(|name| !is_listed(name)).collect();
    assert!(
        missing.is_empty(),
        "count these once in `everything` of reference.rs of their daemon: {missing:?}"
    );
    assert!(!is_listed("no_such_metric"));
}

#[test]
fn planted_metric_is_found() {
    let planted = "fn f(r: &mut Registry) {\n r.register(\n  \"a\", \"Help\", x);\n\
                   r.register_with_unit(\"b\", \"Help\", Unit::Seconds, y);\n authority.register(asked) }\n";
    let source = Source::new("core/x/src/planted.rs", planted);
    assert_eq!(names(&source), ["a", "b"]);
}
