//! A file of registrations for `countersign apply`, YAML or JSON: what is taken is written so that it
//! reads back the same, and what is not is told with a remedy.

use countersign_operator::document::{self, Entry, Json, MAX_MISTAKES};

use super::material::{text, texts};

/// The file is read, written in both ways, and both are read again.
pub fn run(data: &[u8]) -> bool {
    let Some(text) = text(data) else {
        return false;
    };
    let entries = match document::read(text) {
        Ok(entries) => entries,
        Err(mistakes) => {
            assert!((1..=MAX_MISTAKES).contains(&mistakes.len()));
            let is_told = |it: &document::Mistake| !it.problem.is_empty() && !it.remedy.is_empty();
            assert!(mistakes.iter().all(is_told), "{mistakes:?}");
            return false;
        }
    };
    let written = written(entries);
    for again in [document::yaml(&written), json(&written)] {
        let read = document::read(&again).expect("what we wrote reads");
        assert_eq!(json(&self::written(read)), json(&written), "{again}");
    }
    true
}

/// As the control plane answers with it: what was left out has its default.
fn written(entries: Vec<Entry>) -> Json {
    let stored = entries.into_iter().map(|entry| {
        let mut registration = entry.registration;
        if registration.criticality.is_empty() {
            "standard".clone_into(&mut registration.criticality);
        }
        registration
    });
    Json::of(stored.collect())
}

fn json(file: &Json) -> String {
    serde_json::to_string(file).expect("our own shapes serialise")
}

/// Every field, in both ways, and several documents.
pub fn seeds() -> Vec<Vec<u8>> {
    texts(&[
        "version: 1\nregistrations:\n  - id: spiffe://example.org/pay/api\n    \
         node: spiffe://example.org/node/pay/1\n    selectors:\n      - unix:uid:1000\n      \
         - unix:path:/usr/bin/app\n    owner: team-pay\n    criticality: critical\n    labels:\n      \
         env: prod\n      zone: ''\n    x509_ttl: 30m\n    dns:\n      - api.pay.example.org\n    \
         hint: internal\n    default: true\n    expires_at: 2030-12-31T23:59:59Z\n",
        "version: 1\nregistrations:\n- {id: 'spiffe://example.org/plant/plc-7', by_hand: true, \
         owner: no}\n",
        "---\nversion: 1\nregistrations: []\n---\nversion: 1\nregistrations:\n  - id: \
         \"spiffe://example.org/web\"\n    node: spiffe://example.org/node/a\n    selectors: \
         [unix:gid:7]\n    owner: |-\n      team web\n",
        r#"{"version":1,"registrations":[{"id":"spiffe://example.org/web","node":"spiffe://example.org/node/a",
            "selectors":["unix:uid:0"],"owner":"team \u00e9","dns":["web"],"x509_ttl":"90s",
            "labels":{"a":"b"},"default":false}]}"#,
    ])
}
