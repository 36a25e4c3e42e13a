//! Nobody reads the `Debug` text of a value: errors, remedies and what a verb prints are sentences.
//! What is written so all the same is a text in quotes, or is listed with its reason.

use super::source::{Source, production};

/// Where `{…:?}` stands in production code, and what it shows: the name in the braces, or what follows
/// in the arguments. A text or a path is shown in quotes, with its control characters escaped; it may
/// have been chosen by somebody else.
const QUOTED: &[(&str, &str)] = &[
    ("control-plane/audit/src/error.rs", "text"),
    ("control-plane/audit/src/keys.rs", "origin"),
    ("control-plane/backup/src/unpack.rs", ""),
    ("control-plane/backup/src/unpack.rs", "name"),
    ("control-plane/cli/src/audit/tail.rs", "value"),
    ("control-plane/daemon/src/api/admin/waivers.rs", "consumer"),
    ("control-plane/keys/src/pkcs11/tokens.rs", ""),
    ("control-plane/keys/src/pkcs11/tokens.rs", "label"),
    ("control-plane/keys/src/pkcs11/tokens.rs", "serial"),
    ("control-plane/tlog/src/key.rs", "name"),
    ("core/cli/src/config/reader/written.rs", "cut"),
    ("core/cli/src/config/reader/written.rs", "key"),
    ("sidecar/src/attest/program.rs", "path"),
    ("sidecar/src/attest/program/lookup.rs", "path"),
    ("sidecar/src/evidence.rs", "name"),
];

/// Not read by anybody, or made into words first.
const UNREAD: &[(&str, &str, &str)] = &[
    (
        "control-plane/authority/src/lock.rs",
        "place",
        "a panic of a debug build",
    ),
    (
        "control-plane/authority/src/lock.rs",
        "last",
        "a panic of a debug build",
    ),
    (
        "core/discovery/src/convergence/envoy.rs",
        "response",
        "an Envoy of tests",
    ),
    (
        "core/verify/src/tls/words.rs",
        "error",
        "names of rustls, spaced into words",
    ),
    (
        "core/verify/src/tls/words.rs",
        "other",
        "names of rustls, spaced into words",
    ),
    (
        "core/verify/src/tls/words.rs",
        "what",
        "names of rustls, spaced into words",
    ),
    ("sidecar/src/consumers.rs", "", "a key of a table"),
];

/// The names of what a source formats with `Debug`.
fn shown(source: &Source) -> Vec<String> {
    let ends = source.text.match_indices(":?}").map(|(at, _)| at);
    let ends = ends.chain(source.text.match_indices(":#?}").map(|(at, _)| at));
    let name = |end: usize| {
        let begin = source.text[..end].rfind('{').map_or(0, |at| at + 1);
        source.text[begin..end].to_owned()
    };
    ends.map(name).collect()
}

fn unlisted(source: &Source) -> Vec<String> {
    let is_listed = |name: &str| {
        QUOTED.contains(&(&*source.path, name))
            || UNREAD
                .iter()
                .any(|(path, of, _)| (*path, *of) == (&*source.path, name))
    };
    let shown = shown(source).into_iter();
    shown.filter(|name| !is_listed(name)).collect()
}

#[test]
fn nobody_reads_debug_text() {
    let sources = production();
    let found: Vec<_> = sources
        .iter()
        .flat_map(|it| {
            unlisted(it)
                .into_iter()
                .map(|name| format!("{}: {{{name}:?}}", it.path))
        })
        .collect();
    assert_eq!(
        found, [""; 0],
        "say it in words, or list why nobody reads it"
    );
    let listed = QUOTED.iter().map(|(path, name)| (*path, *name));
    let unread = UNREAD.iter().map(|(path, name, _)| (*path, *name));
    for (path, name) in listed.chain(unread) {
        let source = sources.iter().find(|source| source.path == path);
        let is_there = source.is_some_and(|it| shown(it).iter().any(|shown| shown == name));
        assert!(is_there, "{path} shows no {name} any more");
    }
}

#[test]
fn planted_debug_text_is_found() {
    let planted = Source::new(
        "core/x.rs",
        "#[error(\"cannot read: {0:?}\")]\nformat!(\"{it:#?}\")",
    );
    assert_eq!(unlisted(&planted), ["0", "it"]);
}
