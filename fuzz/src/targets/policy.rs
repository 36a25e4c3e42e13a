//! Patterns of policy rules: a key, a line feed, and what stands in its list.

use std::fmt::Write as _;

use countersign_control_plane::config::Config;

use super::material::{text, texts};

const KEYS: [&str; 4] = ["ids", "nodes", "dns", "owners"];

/// One entry makes a rule, or one mistake that names its key.
pub fn run(data: &[u8]) -> bool {
    let Some((key, entry)) = text(data).and_then(|text| text.split_once('\n')) else {
        return false;
    };
    let Some(key) = KEYS.into_iter().find(|known| *known == key) else {
        return false;
    };
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = folder.path().join("control-plane.toml");
    std::fs::write(&file, rule(key, entry)).expect("the folder is ours");
    let Err(error) = Config::read(&file) else {
        return true;
    };
    let named = |key: &str| error.mistakes.iter().all(|it| it.key.starts_with(key));
    assert!(named(&format!("policy.rule[0].{key}")), "{error}");
    assert_eq!(error.mistakes.len(), 1);
    false
}

/// A rule in which the others are plain.
fn rule(key: &str, entry: &str) -> String {
    let mut text = "trust_domain = \"example.org\"\n[[policy.rule]]\nname = \"it\"\n".to_owned();
    for known in KEYS {
        let value = match known {
            _ if known == key => quoted(entry),
            "ids" | "nodes" => "\"/a\"".to_owned(),
            _ => continue,
        };
        let _ = writeln!(text, "{known} = [{value}]");
    }
    text
}

/// A basic string of TOML in which nothing needs to be printable.
fn quoted(text: &str) -> String {
    let escaped = text.chars().fold(String::new(), |mut escaped, it| {
        let _ = write!(escaped, "\\U{:08X}", u32::from(it));
        escaped
    });
    format!("\"{escaped}\"")
}

/// Every kind of pattern.
pub fn seeds() -> Vec<Vec<u8>> {
    texts(&[
        "ids\n/web/**",
        "ids\n/web/*/db",
        "ids\n/web",
        "nodes\n/node/*",
        "dns\n*.example.org",
        "dns\nweb",
        "owners\nteam-web",
    ])
}
