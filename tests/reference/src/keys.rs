//! The keys of a configuration file, by section.

use std::fmt::Write as _;

use countersign_cli::Setting;
use countersign_cli::config::{TABLES, TAKES_EFFECT};
use serde_json::Value;

use crate::{Table, code, plain};

/// The sections of a configuration, each with a table of its keys.
pub fn keys(settings: &[Setting]) -> String {
    let mut text = String::new();
    for section in sections(settings) {
        let of_section = |it: &&Setting| section_of(it) == section && it.kind != TABLES;
        let heading =
            |it: &&Setting| it.kind == TABLES && it.key == section.trim_matches(['[', ']']);
        let title = match section.as_str() {
            "" => "Outside of sections".to_owned(),
            section => code(section),
        };
        writeln!(text, "## {title}\n").expect("a string takes all");
        if let Some(tables) = settings.iter().find(heading) {
            let bounds = match tables.bounds_in_words().as_str() {
                "" => "Any number of them".to_owned(),
                bounds => format!("{bounds} of them"),
            };
            let meaning = plain(tables.declared.meaning);
            writeln!(text, "{meaning} {bounds}.\n").expect("a string takes all");
        }
        text += &table(settings.iter().filter(of_section));
        text.push('\n');
    }
    text
}

/// In the order in which they are read, those of the whole file first.
fn sections(settings: &[Setting]) -> Vec<String> {
    let mut sections = vec![String::new()];
    for section in settings.iter().map(section_of) {
        if !sections.contains(&section) {
            sections.push(section);
        }
    }
    sections
}

/// As it is written: `[api]`, `[[inbound]]`, or nothing.
fn section_of(setting: &Setting) -> String {
    if setting.kind == TABLES {
        return format!("[[{}]]", setting.key);
    }
    match setting.key.rsplit_once('.') {
        None => String::new(),
        Some((section, _)) => match section.strip_suffix("[]") {
            Some(array) => format!("[[{array}]]"),
            None => format!("[{section}]"),
        },
    }
}

fn table<'s>(settings: impl Iterator<Item = &'s Setting>) -> String {
    let mut table = Table::new([
        "Key",
        "Type",
        "Default",
        "May be",
        "Change",
        "Since",
        "What it is",
    ]);
    for setting in settings {
        let (_, name) = setting.key.rsplit_once('.').unwrap_or(("", &setting.key));
        table.row(&[
            code(name),
            plain(&setting.kind_in_words()),
            default(setting),
            plain(&setting.bounds_in_words()),
            TAKES_EFFECT.to_owned(),
            setting.declared.since.to_owned(),
            plain(setting.declared.meaning),
        ]);
    }
    table.finish()
}

/// What the page says of the default.
fn default(setting: &Setting) -> String {
    match &setting.default {
        _ if !setting.declared.default.is_empty() => plain(setting.declared.default),
        _ if setting.is_required => "required".to_owned(),
        None => "not set".to_owned(),
        Some(Value::Array(items)) if items.is_empty() => "none".to_owned(),
        Some(Value::String(text)) => code(text),
        Some(value) => code(&value.to_string()),
    }
}
