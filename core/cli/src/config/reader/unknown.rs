//! Keys that are written and that nobody asked for.

use std::collections::BTreeSet;

use toml::{Table, Value};

/// The paths that nobody asked for; of a section none of whose keys is known, its own.
pub(super) fn unknown_in<'t>(table: &'t Table, asked: &BTreeSet<String>) -> Vec<Vec<&'t str>> {
    let asked: Vec<Vec<&str>> = asked.iter().map(|key| key.split('.').collect()).collect();
    let mut found = Vec::new();
    collect(table, &mut Vec::new(), &asked, &mut found);
    found
}

fn collect<'t>(
    table: &'t Table,
    path: &mut Vec<&'t str>,
    asked: &[Vec<&str>],
    found: &mut Vec<Vec<&'t str>>,
) {
    for (key, value) in table {
        path.push(key);
        let is_asked = asked.iter().any(|a| a == path);
        let is_section = asked
            .iter()
            .any(|a| a.len() > path.len() && a.starts_with(path));
        match value {
            _ if is_asked => {}
            Value::Table(inner) if is_section => collect(inner, path, asked, found),
            _ if is_section => {} // noted when its keys were asked for
            _ => found.push(path.clone()),
        }
        path.pop();
    }
}
