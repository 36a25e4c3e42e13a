//! What a page says of defaults, read back.

use std::path::Path;

use countersign_cli::Setting;
use countersign_cli::config::Origin;
use serde_json::Value;

/// The keys whose default is in effect and is not what the page says, or is not on it. `folder` is
/// that of the configuration file.
pub fn other_defaults(page: &str, folder: &Path, settings: &[Setting]) -> Vec<String> {
    let rows = rows(page);
    let is_default = |it: &&Setting| it.origin == Origin::Default && !it.key.contains('[');
    let differs = |setting: &&Setting| {
        let said = rows.iter().find(|(key, _)| *key == setting.key);
        said.is_none_or(|(_, said)| !holds(said, folder, setting.value.as_ref()))
    };
    let found = settings.iter().filter(is_default).filter(differs);
    let tables = |key: &String| !page.contains(&format!("## `[[{key}]]`"));
    found.map(|it| it.key.clone()).filter(tables).collect()
}

/// Each key of a page with its cell of the default.
fn rows(page: &str) -> Vec<(String, String)> {
    let mut section = String::new();
    let mut rows = Vec::new();
    for line in page.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            let name = title.trim_matches(['`', '[', ']']);
            let is_section = title.starts_with('`');
            section = match is_section {
                true => format!("{name}."),
                false => String::new(),
            };
        }
        let mut cells = line.split(" | ");
        let name = cells.next().and_then(|it| it.strip_prefix("| `"));
        if let (Some(name), Some(default)) = (name, cells.nth(1)) {
            let name = name.trim_end_matches('`');
            rows.push((format!("{section}{name}"), default.to_owned()));
        }
    }
    rows
}

/// Whether a cell says this value; one that says it in words is taken at its word.
fn holds(cell: &str, folder: &Path, value: Option<&Value>) -> bool {
    let code = cell.strip_prefix('`').and_then(|it| it.strip_suffix('`'));
    let code = code.filter(|code| !code.contains('`'));
    match (code, value) {
        (None, Some(Value::Array(items))) => cell == "none" && items.is_empty(),
        (None, _) => cell.contains(' '),
        (Some(said), Some(Value::String(value))) => {
            said == value || folder.join(said) == Path::new(value)
        }
        (Some(said), value) => serde_json::from_str(said).ok().as_ref() == value,
    }
}
