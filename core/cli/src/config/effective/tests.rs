use std::time::Duration;

use super::*;
use crate::config::{Bounds, Key, Origin, Reader};

const NAME: Key = Key::new("name", "A name.").of("name");
const TTL: Key = Key::new("svid.ttl", "A lifetime.");
const SOCKET: Key = Key::new("api.socket", "A socket.").by_default("beside the file");
const URL: Key = Key::new("url", "A URL.").of("URL");
const HOSTS: Key = Key::new("hosts", "Who may ask.").of("host names");
const FORMAT: Key = Key::new("format", "The form of a line.");
const RULE: Key = Key::new("rule", "A rule.");
const IDS: Key = Key::new("ids", "Who.").of("SPIFFE IDs");

fn read(reader: &mut Reader) {
    let any = |text: &str| Ok(text.to_owned());
    let second = Duration::from_secs(1);
    reader.required(&NAME, "name it", any);
    reader.duration(&TTL, second * 90, second..=second * 3_600);
    let default = reader.beside("x.sock");
    reader.socket(&SOCKET, default);
    reader.optional(&URL, "write a URL", any);
    reader.list(&HOSTS, "name hosts", 16, any);
    reader.choice(&FORMAT, 1, &[("json", 1), ("text", 2)], "write one");
    reader.tables(&RULE, 9, |table| {
        table.required_list(&IDS, "name some", 3, any);
        Some(())
    });
}

fn settings(text: &str) -> Vec<Setting> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.toml");
    std::fs::write(&file, text).unwrap();
    let mut reader = Reader::open(&file).unwrap();
    read(&mut reader);
    reader.finish().unwrap()
}

fn of<'s>(settings: &'s [Setting], key: &str) -> &'s Setting {
    let found = settings.iter().find(|setting| setting.key == key);
    found.unwrap_or_else(|| panic!("{key} in {settings:?}"))
}

#[test]
fn every_key_tells_value_and_origin() {
    let settings = settings("name = \"a\"\nhosts = [\"x\", \"y\"]\n[svid]\nttl = \"60m\"\n");
    let told = |key| {
        let setting = of(&settings, key);
        (setting.value.clone(), setting.origin)
    };
    assert_eq!(told("name"), (Some("a".into()), Origin::File));
    assert_eq!(told("svid.ttl"), (Some("1h".into()), Origin::File));
    assert_eq!(told("hosts"), (Some(json!(["x", "y"])), Origin::File));
    assert_eq!(told("format"), (Some("json".into()), Origin::Default));
    assert_eq!(told("url"), (None, Origin::Unset));
    assert_eq!(told("rule"), (Some(0.into()), Origin::Default));
    let (socket, origin) = told("api.socket");
    let socket = socket.unwrap().as_str().unwrap().to_owned();
    assert!(
        socket.starts_with('/') && socket.ends_with("/x.sock"),
        "{socket}"
    );
    assert_eq!(origin, Origin::Default);
}

#[test]
fn each_table_has_its_place() {
    let settings = settings("name = \"a\"\n[[rule]]\nids = [\"a\"]\n[[rule]]\nids = [\"b\"]\n");
    let keys: Vec<_> = settings.iter().map(|it| it.key.as_str()).collect();
    assert_eq!(
        keys[keys.len() - 3..],
        ["rule", "rule[0].ids", "rule[1].ids"]
    );
    assert_eq!(of(&settings, "rule").value, Some(2.into()));
    assert_eq!(of(&settings, "rule[1].ids").value, Some(json!(["b"])));
}

#[test]
fn survey_names_what_a_reading_names() {
    let surveyed = Reader::survey(read);
    let surveyed: Vec<_> = surveyed.iter().map(|it| it.key.as_str()).collect();
    let read = settings("name = \"a\"\n[[rule]]\nids = [\"a\"]\n");
    let read: Vec<_> = read.iter().map(|it| it.key.replace("[0]", "[]")).collect();
    assert_eq!(surveyed, read);
}

#[test]
fn bounds_and_kinds_are_told() {
    let settings = Reader::survey(read);
    let range = Bounds::Range("1s".into(), "1h".into());
    assert_eq!(of(&settings, "svid.ttl").bounds, range);
    assert_eq!(of(&settings, "svid.ttl").bounds_in_words(), "1s to 1h");
    assert_eq!(of(&settings, "hosts").bounds_in_words(), "1 to 16 entries");
    assert_eq!(of(&settings, "hosts").kind_in_words(), "list of host names");
    assert_eq!(of(&settings, "name").kind_in_words(), "name");
    assert_eq!(of(&settings, "format").bounds_in_words(), "json, text");
    assert!(of(&settings, "name").is_required && of(&settings, "rule[].ids").is_required);
    assert!(!of(&settings, "url").is_required);
}

#[test]
fn password_in_a_url_is_never_shown() {
    let settings = settings("name = \"a\"\nurl = \"http://u:s3cret@h:1/p@q\"\n");
    for text in [as_text(&settings), as_json(Path::new("f"), &settings)] {
        assert!(!text.contains("s3cret"), "{text}");
        assert!(text.contains("http://(hidden)@h:1/p@q"), "{text}");
    }
}

#[test]
fn control_characters_of_the_file_are_escaped() {
    let settings = settings("name = \"a\\u001b[2J\\nb\\u202e\"\n");
    for text in [as_text(&settings), as_json(Path::new("f"), &settings)] {
        let obeyed = |c: char| c.is_control() && c != '\n';
        assert!(!text.chars().any(obeyed), "{text:?}");
        assert!(
            text.contains("\\u{1b}[2J\\nb") || text.contains("\\u001b[2J\\nb"),
            "{text}"
        );
    }
    assert!(!as_text(&settings).contains('\u{202e}'));
}

#[test]
fn text_has_aligned_columns() {
    let settings = settings("name = \"a\"\nhosts = [\"x\", \"y\"]\n");
    let text = as_text(&settings);
    let lines: Vec<_> = text
        .lines()
        .map(|line| line.replace('\u{20}', "·"))
        .collect();
    assert_eq!(lines[0], "KEY·········FROM·····VALUE");
    assert_eq!(lines[1], "name········file·····a");
    assert_eq!(lines[2], "svid.ttl····default··1m30s");
    assert_eq!(lines[4], "url·········unset····-");
    assert_eq!(lines[5], "hosts·······file·····x");
    assert_eq!(lines[6], "·····················y");
}

#[test]
fn missing_default_file_names_the_flag() {
    let named = PathBuf::from("/x.toml");
    assert_eq!(
        file_or_default(Some(named.clone()), "/gone/y.toml"),
        Ok(named)
    );
    let failure = file_or_default(None, "/gone/y.toml").unwrap_err();
    assert!(failure.message.contains("/gone/y.toml"), "{failure}");
    assert!(failure.remedy.contains("--config"), "{}", failure.remedy);
    assert_eq!(file_or_default(None, "/"), Ok("/".into()));
}
