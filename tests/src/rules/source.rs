//! The production source, as plain text: no comments, no tests.

use std::path::{Path, PathBuf};

use crate::binaries;

/// Crates of the workspace that no daemon is made of.
const NOT_PRODUCTION: &[&str] = &[
    "tests",
    "tests/issued",
    "tests/footprint",
    "tests/logs",
    "tests/ports",
    "tests/postgres",
    "tests/programs",
    "tests/reference",
    "tests/simulation",
    "docs/integrations/examples/rust",
    "fuzz",
    "benches",
];

/// What both daemons are made of: the source of every other crate.
fn roots(project: &Path) -> Vec<PathBuf> {
    let manifest = std::fs::read_to_string(project.join("Cargo.toml")).unwrap();
    let (_, members) = manifest.split_once("members = [").unwrap();
    let (members, _) = members.split_once(']').unwrap();
    let members = members.split('"').skip(1).step_by(2);
    let crates = members.filter(|name| !NOT_PRODUCTION.contains(name));
    crates.map(|name| project.join(name).join("src")).collect()
}

/// One file of production code.
pub(crate) struct Source {
    /// From the root of the project.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Source {
    /// A file, or one that a test plants.
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self {
            path: path.to_owned(),
            text: without_tests(&without_comments(text)),
        }
    }

    /// The number of the line at a byte of the text.
    pub(crate) fn line(&self, at: usize) -> usize {
        self.text[..at].matches('\n').count() + 1
    }
}

/// Every file of both daemons and of what they share.
pub(crate) fn production() -> Vec<Source> {
    let project = binaries::project();
    let mut files = Vec::new();
    for root in roots(project) {
        collect(&root, is_production, &mut files);
    }
    files.sort();
    let read = |path: &PathBuf| {
        let name = path.strip_prefix(project).unwrap().to_string_lossy();
        Source::new(&name, &std::fs::read_to_string(path).unwrap())
    };
    let sources: Vec<_> = files.iter().map(read).collect();
    assert!(sources.len() > 200, "only {} files", sources.len());
    sources
}

fn is_production(path: &Path) -> bool {
    let name = path.file_stem().and_then(|name| name.to_str());
    let is_test = |name: &str| ["tests", "testing", "harness", "footprint"].contains(&name);
    !name.is_some_and(is_test)
}

fn collect(folder: &Path, is_wanted: fn(&Path) -> bool, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if !is_wanted(&path) {
            continue;
        }
        if path.is_dir() {
            collect(&path, is_wanted, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The text of every file of the project, tests too.
pub(crate) fn every_file() -> Vec<String> {
    let folders = ["control-plane", "core", "proto", "sidecar", "tests"];
    let mut files = Vec::new();
    for folder in folders {
        collect(&binaries::project().join(folder), |_| true, &mut files);
    }
    let read = |path: &PathBuf| std::fs::read_to_string(path).unwrap();
    files.iter().map(read).collect()
}

/// Lines stay where they were.
fn without_comments(text: &str) -> String {
    let is_comment = |line: &str| line.trim_start().starts_with("//");
    let kept = text
        .lines()
        .map(|line| if is_comment(line) { "" } else { line });
    kept.map(|line| format!("{line}\n")).collect()
}

/// A module of tests stands at the end of its file.
fn without_tests(text: &str) -> String {
    let end = text.find("\n#[cfg(test)]\nmod tests {");
    text[..end.unwrap_or(text.len())].to_owned()
}

/// What stands between the parenthesis that opens at the first byte and the one that closes it.
pub(crate) fn parenthesised(text: &str) -> &str {
    assert!(text.starts_with('('), "nothing opens: {text:.80}");
    between(text)
}

/// What stands between the bracket that opens at the first byte and the one that closes it.
pub(crate) fn between(text: &str) -> &str {
    let opens = text.chars().next().unwrap_or_default();
    let closes = if opens == '(' { ')' } else { '}' };
    let (mut depth, mut in_string, mut is_escaped) = (0_usize, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' if in_string => is_escaped = true,
            '"' => in_string = !in_string,
            c if c == opens && !in_string => depth += 1,
            c if c == closes && !in_string && depth == 1 => return &text[1..at],
            c if c == closes && !in_string => depth -= 1,
            _ => {}
        }
    }
    panic!("nothing closes it: {text:.80}")
}
