use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::sample::select;

use super::*;

/// A document of ordinary size is read in a hundredth of this.
const BOUND: Duration = Duration::from_secs(20);

/// A quarter of what a file may be, for a build that is not optimised.
const FILL: usize = MAX_BYTES / 4;

const WEB: &str = "
version: 1
registrations:
  - id: spiffe://example.org/web
    node: spiffe://example.org/node/a
    selectors:
      - unix:uid:1000
      - unix:path:/usr/bin/web
    owner: team-web
    criticality: critical
    labels: {env: prod, tier: 1}
    x509_ttl: 30m
    dns: [a.example.org, b.example.org]
    hint: internal
    default: true
    expires_at: 2030-12-31T23:59:59Z
---
registrations:
  - {id: spiffe://example.org/plc, by_hand: true, owner: plant, expires_at: 2030-12-31}
";

fn by_hand(more: &str) -> String {
    format!(
        "registrations:\n  - id: spiffe://example.org/web\n    by_hand: true\n    owner: me\n{more}"
    )
}

fn one(text: &str) -> Registration {
    let mut entries = read(text).unwrap_or_else(|mistakes| panic!("{mistakes:#?}"));
    assert_eq!(entries.len(), 1);
    entries.remove(0).registration
}

/// Each mistake as `line: path: problem; remedy`.
fn mistakes(text: &str) -> Vec<String> {
    let mistakes = read(text).expect_err(text);
    let line = |it: &Mistake| format!("{}: {}; {}", it.place, it.problem, it.remedy);
    mistakes.iter().map(line).collect()
}

#[test]
fn every_field_is_read() {
    let entries = read(WEB).unwrap();
    let [web, plc] = &entries[..] else {
        panic!("{entries:?}")
    };
    assert_eq!(web.place.line, Some(4));
    let it = &web.registration;
    assert_eq!(it.selectors, ["unix:uid:1000", "unix:path:/usr/bin/web"]);
    assert_eq!(it.dns, ["a.example.org", "b.example.org"]);
    assert_eq!((&*it.labels["env"], &*it.labels["tier"]), ("prod", "1"));
    assert_eq!(it.x509_ttl.unwrap().seconds, 1_800);
    assert_eq!(it.expires_at.unwrap().seconds, 1_924_991_999);
    assert!(it.is_default && !it.by_hand && it.hint == "internal");
    assert!(plc.registration.by_hand && plc.registration.owner == "plant");
    assert_eq!(plc.place.path, "registrations[1]");
}

#[test]
fn json_reads_as_yaml_does() {
    let json = r#"{"version": 1, "registrations": [
	{"id": "spiffe://example.org/web", "by_hand": true, "owner": "\ud83e\udd80 \/", "hint": null,
	 "dns": [], "labels": {"a": "b"}, "default": false}]}
{"registrations": []}"#;
    let it = one(json);
    assert_eq!((&*it.owner, &*it.labels["a"]), ("🦀 /", "b"));
    let flow = "{registrations: [{id: spiffe://example.org/web, by_hand: true, owner: me}]}";
    assert_eq!(one(flow).owner, "me");
}

#[test]
fn scalar_is_what_is_written() {
    for word in [
        "no",
        "Yes",
        "on",
        "0777",
        "0o17",
        "1e3",
        ".nan",
        "2030-12-31",
        "1:30",
        "+1",
        "0x1f",
        "NO",
    ] {
        let it = one(
            &by_hand(&format!("    hint: x\n    labels:\n      {word}: {word}\n"))
                .replace("    hint: x\n", ""),
        );
        assert_eq!(it.labels[word], word);
        let text = by_hand("").replace("owner: me", &format!("owner: {word}"));
        assert_eq!(one(&text).owner, word);
    }
    // Where a truth is asked for, it is true or false.
    for word in ["yes", "True", "1", "on"] {
        let text = by_hand("").replace("by_hand: true", &format!("by_hand: {word}"));
        let told = mistakes(&text);
        assert!(told[0].contains("write true or false"), "{told:?}");
    }
}

#[test]
fn every_mistake_is_told_with_its_line() {
    let told = mistakes(
        "version: 2
registrationss: []
registrations:
  - id: example.org/web
    node: spiffe://example.org/node/a
    selectors: [uid:1, unix:uid:1]
    onwer: me
    x509_ttl: 30
    dns: web.example.org
  - id: spiffe://example.org/plc
    by_hand: true
    node: spiffe://example.org/node/a
    owner: a
    owner: b
    labels: [x]
    expires_at: tomorrow
  - web
  - node: spiffe://example.org/node/a
",
    );
    let expected = [
        "line 2, registrationss: the key is unknown; did you mean registrations?",
        "line 1, version: version 2 is not one that is read",
        "line 7, registrations[0].onwer: the key is unknown; did you mean owner?",
        "line 6, registrations[0].selectors[0]: uid:1 does not read",
        "line 4, registrations[0].id: example.org/web does not read",
        "line 4, registrations[0]: owner is missing",
        "line 8, registrations[0].x509_ttl: 30 does not read; the unit is missing: d, h, m, s or ms, as in 10m; write numbers",
        "line 9, registrations[0].dns: this is no list; write - before each",
        "line 14, registrations[1].owner: the key is there twice; write it once",
        "line 12, registrations[1].node: what is signed by hand has none; leave it out",
        "line 16, registrations[1].expires_at: tomorrow does not read; write a time such as",
        "line 15, registrations[1].labels: this is no map",
        "line 17, registrations[2]: this is no map; write keys and values: id, node",
        "line 18, registrations[3]: id is missing",
        "line 18, registrations[3]: owner is missing",
        "line 18, registrations[3]: selectors is missing",
    ];
    for (told, expected) in told.iter().zip(expected) {
        assert!(told.starts_with(expected), "{told}\n{expected}");
    }
    assert_eq!(told.len(), expected.len(), "{told:#?}");
}

#[test]
fn what_is_no_registration_is_refused() {
    for (text, problem) in [
        ("registrations: *all", "unknown anchor"),
        ("registrations: &all []", "anchors and tags are not read"),
        ("registrations: !!set {}", "anchors and tags are not read"),
        ("registrations:\n  - <<: {id: x}\n", "the key is unknown"),
        ("registrations:\n  - ? [a]\n    : b\n", "this is no key"),
        (
            "registrations: []\nregistrations: []\n",
            "the key is there twice",
        ),
        (
            r#"{"registrations": [], "registrations": []}"#,
            "the key is there twice",
        ),
        ("registrations: {}", "this is no list"),
        ("registrations: [", "this is no YAML"),
        ("version: 1", "no registrations are here"),
        ("just text", "this is no map"),
        ("{\"registrations\": [}", "this is no JSON"),
        ("registrations:\n\t- id: x\n", "this is no YAML"),
    ] {
        let told = mistakes(text);
        assert!(
            told.iter().any(|it| it.contains(problem)),
            "{text}: {told:?}"
        );
    }
    assert_eq!(read("").unwrap(), []);
    assert_eq!(read("# nothing\n---\n---\nregistrations:\n").unwrap(), []);
}

/// Laughs, depths and widths.
#[test]
fn hostile_files_cost_what_they_are_long() {
    let mut laughs = String::from("a: &a0 [x]\n");
    for n in 1..60 {
        let line = format!(
            "b{n}: &a{n} [{}]\n",
            vec![format!("*a{}", n - 1); 9].join(",")
        );
        laughs.push_str(&line);
    }
    let fill = |piece: &str| piece.repeat(FILL / piece.len());
    let many = format!("registrations:\n{}", fill("  - x\n"));
    for text in [
        laughs,
        fill("["),
        fill("{a: "),
        fill("- "),
        fill("? "),
        fill("{\"a\":"),
        fill("&a "),
        fill("--- x\n"),
        fill("a: b\n"),
        fill("\""),
        fill("'"),
        fill("x"),
        fill("!a "),
        fill("%TAG ! !\n"),
        fill("# \n"),
        many,
    ] {
        let begun = Instant::now();
        let told = read(&text).err().unwrap_or_default();
        assert!(told.len() <= MAX_MISTAKES);
        assert!(
            begun.elapsed() < BOUND,
            "{:?}… took {:?}",
            &text[..12],
            begun.elapsed()
        );
    }
}

#[test]
fn file_holds_as_many_as_one_call() {
    let of = |count| {
        let ids = (0..count)
            .map(|n| format!("  - {{id: spiffe://example.org/{n}, by_hand: true, owner: me}}\n"));
        format!("registrations:\n{}", ids.collect::<String>())
    };
    assert_eq!(
        read(&of(MAX_REGISTRATIONS)).unwrap().len(),
        MAX_REGISTRATIONS
    );
    let told = mistakes(&of(MAX_REGISTRATIONS + 1));
    assert!(told[0].contains("10001 registrations"), "{told:?}");
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        // As owners and labels are: no control characters.
        any::<String>().prop_map(|text| text
            .chars()
            .filter(|c| !c.is_control())
            .take(40)
            .collect()),
        select(vec![
            "no",
            "~",
            "null",
            "-",
            "- a",
            "a: b",
            "a #b",
            "#",
            "0777",
            "'",
            "\"",
            "\\",
            "*a",
            "&a",
            "!a",
            " a ",
            "%",
            "@",
            "`",
            "{",
            "[",
            "|",
            ">",
            "?",
            ":",
            "=",
            "<<",
            "---",
            "...",
            "\u{feff}",
            "\u{2028}",
            "\u{202e}x",
            "true",
            "1.0",
            "2030-12-31",
        ])
        .prop_map(str::to_owned),
    ]
}

prop_compose! {
    fn registration()(
        number in 0_u32..1_000,
        by_hand in any::<bool>(),
        selectors in prop::collection::btree_set(0_u32..9, 1..4),
        owner in text().prop_map(|owner| format!("{owner}.")),
        criticality in select(vec!["low", "standard", "critical"]),
        labels in prop::collection::hash_map("[a-z0-9._/-]{1,9}", text(), 0..3),
        ttl in prop::option::of(20_i64..86_400),
        dns in prop::collection::vec("[a-z0-9]{1,5}\\.[a-z]{2}", 0..3),
        hint in prop::option::of(text().prop_filter("a hint is not empty", |it| !it.is_empty())),
        is_default in any::<bool>(),
        end in prop::option::of((1_900_000_000_i64..1_950_000_000, 0_i32..1_000_000_000)),
    ) -> Registration {
        Registration {
            id: format!("spiffe://example.org/web/{number}"),
            node: if by_hand { String::new() } else { "spiffe://example.org/node/a".to_owned() },
            by_hand,
            selectors: match by_hand {
                true => Vec::new(),
                false => selectors.into_iter().map(|uid| format!("unix:uid:{uid}")).collect(),
            },
            owner,
            criticality: criticality.to_owned(),
            labels,
            x509_ttl: ttl.map(|seconds| prost_types::Duration { seconds, nanos: 0 }),
            dns,
            hint: hint.filter(|_| !by_hand).unwrap_or_default(),
            is_default: is_default && !by_hand,
            expires_at: end.map(|(seconds, nanos)| prost_types::Timestamp { seconds, nanos }),
            ..Registration::default()
        }
    }
}

proptest! {
    #[test]
    fn what_is_written_reads_back(registrations in prop::collection::vec(registration(), 0..6)) {
        let file = Json::of(registrations.clone());
        let json = serde_json::to_string_pretty(&file).unwrap();
        for text in [yaml(&file), json] {
            let read = read(&text);
            let read = read.map_err(|mistakes| format!("{text}\n{mistakes:#?}")).unwrap();
            let mut left = registrations.clone();
            for entry in read {
                let at = left.iter().position(|it| *it == entry.registration);
                prop_assert!(at.is_some(), "{}\n{:#?}", text, entry.registration);
                left.remove(at.unwrap());
            }
            prop_assert_eq!(&left, &[]);
        }
    }

    #[test]
    fn any_text_is_judged(text in "[-a-z:{}\\[\\]\"'&*!|>?,#% \n]{0,60}") {
        let _ = read(&text);
        let _ = read(&format!("registrations:\n  - {text}"));
    }
}

#[test]
fn written_file_is_sorted_and_stable() {
    let it = |id: &str, node: &str| Registration {
        id: format!("spiffe://example.org/{id}"),
        node: format!("spiffe://example.org/node/{node}"),
        selectors: vec!["unix:uid:1".to_owned()],
        owner: "no".to_owned(),
        criticality: "standard".to_owned(),
        entitlement: "reg-1".to_owned(),
        created_at: Some(prost_types::Timestamp::default()),
        ..Registration::default()
    };
    let one = yaml(&Json::of(vec![it("b", "a"), it("a", "b"), it("a", "a")]));
    let other = yaml(&Json::of(vec![it("a", "a"), it("b", "a"), it("a", "b")]));
    assert_eq!(one, other);
    let places: BTreeSet<_> = one.lines().filter(|line| line.contains(" id: ")).collect();
    assert_eq!(places.len(), 2);
    assert!(
        one.starts_with(
            "version: 1\nregistrations:\n  - id: spiffe://example.org/a\n    \
         node: spiffe://example.org/node/a\n    selectors:\n      - unix:uid:1\n    \
         owner: \"no\"\n    criticality: standard\n  - id:"
        ),
        "{one}"
    );
    assert_eq!(yaml(&Json::of(Vec::new())), "version: 1\nregistrations: []");
}
