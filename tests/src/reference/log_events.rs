//! Every line of the log at info or above: its message is a constant, so the sources tell all of them.

use std::collections::{BTreeMap, BTreeSet};

use countersign_reference::{Table, code, page, plain};

use crate::rules::source::{Source, parenthesised, production};

const HEAD: &str = "# Log events

Every message that the daemons log at `info` or above, with its level and its fields. A message is a constant:
what changes is in the fields. As JSON a line is one object with `timestamp`, `level`, `target`, `message` and
the fields; as text they follow the message. `left_out` says how many lines of the kind came before and were
not written ([why](../operations.md#logs)). Levels: `error` needs somebody, `warn` may, `info` tells what was
done. `debug` lines are for whoever looks for something, and may change at any time. A message that begins
with `alarm:` tells of a state that must not occur.
";

/// Macros that write a line, with the level where the name says it.
const MACROS: [(&str, &str); 5] = [
    ("info!(", "info"),
    ("warn!(", "warn"),
    ("error!(", "error"),
    ("event!(", ""),
    ("peer_line!(", ""),
];

/// By message: levels and fields of every place that writes it.
type Events = BTreeMap<String, (BTreeSet<String>, BTreeSet<String>)>;

fn events<'s>(sources: impl Iterator<Item = &'s Source>) -> Events {
    let mut events = Events::new();
    for source in sources {
        for (name, level) in MACROS {
            for (at, _) in source.text.match_indices(name) {
                let before = source.text[..at].chars().next_back();
                if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
                    continue;
                }
                let arguments = parenthesised(&source.text[at + name.len() - 1..]);
                let Some((message, level, fields)) = event(arguments, level) else {
                    continue;
                };
                let (levels, known) = events.entry(message).or_default();
                levels.insert(level);
                known.extend(fields);
            }
        }
    }
    events
}

/// Message, level and fields; nothing of a macro's own definition.
fn event(arguments: &str, level: &str) -> Option<(String, String, Vec<String>)> {
    let parts = split(arguments);
    let message = parts.iter().rev().find_map(|part| literal(part))?;
    let words = ["ERROR", "WARN", "INFO"];
    let named = words.iter().find(|word| parts[0].trim().ends_with(**word));
    let level = match named {
        Some(word) => word.to_lowercase(),
        None if level.is_empty() => return None, // debug, or a level that is a variable
        None => level.to_owned(),
    };
    Some((
        message,
        level,
        parts.iter().filter_map(|part| field(part)).collect(),
    ))
}

/// The arguments, apart by the commas that stand between them.
fn split(arguments: &str) -> Vec<&str> {
    let (mut depth, mut in_string, mut is_escaped) = (0_usize, false, false);
    let (mut parts, mut begin) = (Vec::new(), 0);
    for (at, c) in arguments.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' if in_string => is_escaped = true,
            '"' => in_string = !in_string,
            _ if in_string => {}
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&arguments[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&arguments[begin..]);
    parts
}

fn literal(part: &str) -> Option<String> {
    let text = part.trim().strip_prefix('"')?.strip_suffix('"')?;
    let lines: Vec<_> = text.split("\\\n").map(str::trim_start).collect();
    Some(lines.concat().replace("\\\"", "\""))
}

/// `name`, `%name`, `name = value`: the name.
fn field(part: &str) -> Option<String> {
    let name = part.split(" = ").next().unwrap_or_default();
    let name = name.trim().trim_start_matches(['%', '?']);
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '.';
    // Whom a line is counted for is an argument of `peer_line!`, and no field.
    let fits = !name.is_empty()
        && name != "principal"
        && name.chars().all(is_name)
        && !name.contains("..");
    fits.then(|| name.rsplit('.').next().unwrap_or(name).to_owned())
}

fn table(events: &Events) -> String {
    let mut table = Table::new(["Message", "Level", "Fields"]);
    for (message, (levels, fields)) in events {
        let levels: Vec<_> = levels.iter().map(String::as_str).collect();
        let fields: Vec<_> = fields.iter().map(|field| code(field)).collect();
        table.row(&[plain(message), levels.join(", "), fields.join(", ")]);
    }
    table.finish()
}

#[test]
fn page_of_the_log_events_follows_the_code() {
    let sources = production();
    let mut text = HEAD.to_owned();
    for (title, folders) in [
        ("The control plane", ["control-plane/", "control-plane/"]),
        ("The sidecar", ["sidecar/", "sidecar/"]),
        ("Both daemons", ["core/", "proto/"]),
    ] {
        let is_of = |source: &&Source| folders.iter().any(|it| source.path.starts_with(it));
        let is_cli = |source: &&Source| source.path.starts_with("control-plane/cli/");
        let events = events(sources.iter().filter(is_of).filter(|it| !is_cli(it)));
        assert!(events.len() > 5, "{title} has {} events", events.len());
        text += &format!("\n## {title}\n\n{}", table(&events));
    }
    page("log-events.md", &text);
}

#[test]
fn planted_event_is_read() {
    let planted = r#"
        fn f(peer: u32) {
            peer_line!(WARN, Principal::uid(peer), uid = peer, %error, list = a.join(", "), "was \
                refused");
            tracing::info!(spiffe_id = %id, serial, "certificate installed");
            tracing::debug!(peer, "not listed");
        }
    "#;
    let source = Source::new("sidecar/src/planted.rs", planted);
    let events = events([source].iter());
    let told: Vec<_> = events.iter().collect();
    assert_eq!(told.len(), 2, "{told:?}");
    let (levels, fields) = &events["was refused"];
    assert!(levels.contains("warn"), "{levels:?}");
    assert_eq!(Vec::from_iter(fields), ["error", "list", "uid"]);
    let (levels, fields) = &events["certificate installed"];
    assert!(levels.contains("info"), "{levels:?}");
    assert_eq!(Vec::from_iter(fields), ["serial", "spiffe_id"]);
}
