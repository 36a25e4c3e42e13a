//! What our texts tell people to run exists: verbs and flags in messages, remedies and pages.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::{leaves, words};
use crate::Cli;
use clap::{CommandFactory, Parser};

/// Flags of the daemons, which their messages name.
const OF_THE_DAEMONS: [&str; 3] = ["config", "effective", "join"];

/// What other programs take is theirs to say.
const OTHERS: [&str; 3] = ["envoy --", "softhsm2-util --", "gpg --"];

fn project() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).unwrap().to_owned()
}

/// Files below folders of the project, with their text.
fn files(folders: &[&str], extension: &str) -> Vec<(PathBuf, String)> {
    let mut folders: Vec<_> = folders.iter().map(|it| project().join(it)).collect();
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && !["target", "tests", "node_modules"].contains(&&*name) {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == extension) && name != "tests.rs" {
                let text = std::fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    assert!(found.len() > 10, "only {} files", found.len());
    found
}

/// The texts of a source in quotes, on one line each: a text that goes on in the next line is joined.
fn texts(source: &str) -> Vec<String> {
    let production = source.split("\n#[cfg(test)]\nmod tests {").next().unwrap();
    let lines = production
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    let mut texts = Vec::new();
    let mut text = None::<String>;
    let mut chars = lines.flat_map(|line| line.chars().chain(['\n'])).peekable();
    while let Some(c) = chars.next() {
        match (&mut text, c) {
            (Some(_), '"') => texts.extend(text.take()),
            (Some(text), '\\') => match chars.next() {
                Some('\n') => while chars.next_if(|c| c.is_whitespace()).is_some() {},
                Some('n') => text.push('\n'),
                Some(c) => text.push(c),
                None => {}
            },
            (Some(text), c) => text.push(c),
            (None, '"') => text = Some(String::new()),
            // A character: its quote opens nothing.
            (None, '\'') if chars.peek() == Some(&'"') => drop(chars.next()),
            (None, _) => {}
        }
    }
    texts
}

/// Commands of ours that a text names: from the name of the program to the end of what is quoted.
fn commands(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("countersign ") {
        let before = text[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || "-/_.".contains(c)) {
            continue;
        }
        let command = &text[at..];
        let end = command.find(['`', '\n', ';', ',', ')', '|', '#', '"']);
        found.push(&command[..end.unwrap_or(command.len())]);
    }
    found
}

/// Whether its verbs exist, and its flags are taken by the last of them.
fn exists(command: &str) -> Result<(), String> {
    let mut verb = Cli::command();
    verb.build();
    let mut has_verb = false;
    for word in command.split_whitespace().skip(1) {
        if let Some(flag) = word.strip_prefix("--") {
            let flag = flag.trim_end_matches([':', '.', '\'']);
            let flag = flag.split('=').next().unwrap();
            let taken = verb.get_arguments().any(|it| it.get_long() == Some(flag));
            if !taken {
                return Err(format!("{} takes no --{flag}", verb.get_name()));
            }
        } else if verb.has_subcommands() {
            match verb.find_subcommand(word.trim_end_matches([':', '.'])) {
                Some(below) => verb = below.clone(),
                // A sentence about the program.
                None if !has_verb => return Ok(()),
                None => return Err(format!("{} has no verb {word}", verb.get_name())),
            }
            has_verb = true;
        }
    }
    Ok(())
}

#[test]
fn messages_name_commands_that_exist() {
    let sources = files(&["core", "control-plane", "sidecar/src"], "rs");
    let mut seen = 0;
    for (path, source) in &sources {
        for text in texts(source) {
            for command in commands(&text) {
                if let Err(error) = exists(command) {
                    panic!("{}: {command}: {error}", path.display());
                }
                seen += 1;
            }
        }
    }
    assert!(seen > 60, "only {seen} commands are named");
    exists("countersign token make --node x").unwrap_err();
    exists("countersign token create --nodes x").unwrap_err();
}

/// What is told without its verb, such as "choose another --out".
#[test]
fn messages_name_flags_that_exist() {
    let mut known: BTreeSet<String> = OF_THE_DAEMONS.map(str::to_owned).into();
    let mut command = Cli::command();
    command.build();
    for (_, leaf) in leaves(&command) {
        let flags = leaf.get_arguments().filter_map(clap::Arg::get_long);
        known.extend(flags.map(str::to_owned));
    }
    let sources = files(&["control-plane"], "rs");
    let (mut seen, mut unknown) = (0, Vec::new());
    for (path, source) in &sources {
        let texts = texts(source);
        let lines = texts.iter().flat_map(|text| text.lines());
        let is_others = |line: &str| OTHERS.iter().any(|program| line.contains(program));
        for text in lines.filter(|line| !is_others(line)) {
            for (at, _) in text.match_indices(" --") {
                let flag = &text[at + 3..];
                let end = flag.find(|c: char| !c.is_ascii_alphanumeric() && c != '-');
                let flag = &flag[..end.unwrap_or(flag.len())];
                if !flag.is_empty() {
                    seen += 1;
                    if !known.contains(flag) {
                        unknown.push(format!("{}: --{flag} in {text:?}", path.display()));
                    }
                }
            }
        }
    }
    assert_eq!(unknown, [""; 0]);
    assert!(seen > 60, "only {seen} flags are named");
}

#[test]
fn pages_show_commands_that_are_understood() {
    let mut pages = files(&["docs"], "md");
    let readme = project().join("README.md");
    pages.push((readme.clone(), std::fs::read_to_string(readme).unwrap()));
    let mut seen = 0;
    for (path, page) in &pages {
        let page = page.replace("\\\n", " ");
        for line in page.lines() {
            let Some(line) = line.strip_prefix("$ countersign ") else {
                continue;
            };
            let line = words(&format!("countersign {line}"));
            if let Err(error) = Cli::try_parse_from(&line) {
                panic!("{}: {}\n{error}", path.display(), line.join(" "));
            }
            seen += 1;
        }
    }
    assert!(seen > 20, "only {seen} commands are shown");
}
