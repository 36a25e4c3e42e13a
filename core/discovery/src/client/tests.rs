use super::*;
use crate::testing::{SECRET, nack};

fn response(stamp: &str, nonce: &str, contents: &[(&str, &str)]) -> DeltaResponse {
    let resource = |(name, version): &(&str, &str)| {
        Resource::versioned(SECRET, name, version, bytes::Bytes::new())
    };
    DeltaResponse {
        type_url: SECRET.into(),
        system_version: stamp.into(),
        nonce: nonce.into(),
        resources: contents.iter().map(resource).collect(),
        removed: Vec::new(),
    }
}

fn wanting(names: &[&str]) -> DeltaClient {
    let mut client = DeltaClient::new();
    for name in names {
        client.subscribe(SECRET, name).unwrap();
    }
    client
}

#[test]
fn a_reconnect_says_what_is_wanted_and_held() {
    let mut client = DeltaClient::new();
    client.hold(SECRET, "a", "1");
    client.hold(SECRET, "stray", "1");
    let request = client.subscribe(SECRET, "a").unwrap();
    assert_eq!(
        request.initial_versions.get("a").map(String::as_str),
        Some("1")
    );
    assert_eq!(client.subscribe(SECRET, "a"), None);
    client.subscribe(SECRET, "b");
    client.subscribe("other", "*");
    let received = client.handle(response("0.1", "1", &[("b", "2")])).unwrap();
    client.accept(&received);
    let requests = client.reconnect();
    assert_eq!(requests.len(), 2);
    let secrets = requests.iter().find(|r| r.type_url == SECRET).unwrap();
    assert_eq!(secrets.subscribe, ["a", "b"]);
    let held: Vec<_> = secrets.initial_versions.iter().collect();
    assert_eq!(
        held,
        [
            (&"a".to_owned(), &"1".to_owned()),
            (&"b".to_owned(), &"2".to_owned())
        ]
    );
    assert!(requests.iter().all(|r| r.response_nonce.is_empty()));
}

#[test]
fn nothing_is_held_before_it_is_accepted() {
    let mut client = wanting(&["a"]);
    let received = client.handle(response("0.1", "1", &[("a", "1")])).unwrap();
    assert_eq!(client.held(SECRET, "a"), None);
    let nack = client.refuse(SECRET, &received.nonce, nack());
    assert!(nack.nack.is_some() && nack.response_nonce == "1");
    assert_eq!(client.held(SECRET, "a"), None);
    assert_eq!(client.accept(&received).response_nonce, "1");
    assert_eq!(client.held(SECRET, "a"), Some("1"));
}

#[test]
fn an_older_state_never_replaces_a_newer_one() {
    let mut client = wanting(&["a"]);
    client.handle(response("1.5", "1", &[("a", "2")])).unwrap();
    client.reconnect();
    let refused = client
        .handle(response("1.4", "1", &[("a", "1")]))
        .unwrap_err();
    let stamp = |sequence| Stamp { epoch: 1, sequence };
    let (seen, got) = (stamp(5), stamp(4));
    assert_eq!(refused, ClientError::Older { seen, got });
    assert!(client.handle(response("0.9", "2", &[])).is_err());
    assert_eq!(client.seen(), seen);
    client.handle(response("1.5", "3", &[])).unwrap();
    client.handle(response("2.0", "4", &[("a", "1")])).unwrap();
    assert!(client.handle(response("1.6", "5", &[])).is_err());
}

#[test]
fn malformed_responses_are_not_used() {
    let mut client = wanting(&["a"]);
    let malformed = client.handle(response("seven", "1", &[]));
    assert!(matches!(malformed, Err(ClientError::Malformed(_))));
    let mut foreign = response("9.9", "1", &[("a", "1")]);
    foreign.type_url = "other".into();
    assert!(matches!(
        client.handle(foreign),
        Err(ClientError::Malformed(_))
    ));
    assert_eq!(client.seen(), Stamp::default());
}

#[test]
fn names_not_wanted_are_left_out() {
    let mut client = wanting(&["a", "b"]);
    client.unsubscribe(SECRET, "b").unwrap();
    assert_eq!(client.unsubscribe(SECRET, "b"), None);
    let received = client
        .handle(response("0.1", "1", &[("a", "1"), ("b", "1")]))
        .unwrap();
    let names: Vec<_> = received.changes.iter().map(Change::name).collect();
    assert_eq!(names, ["a"]);
    client.unsubscribe(SECRET, "a");
    client.accept(&received);
    assert_eq!(client.held(SECRET, "a"), None);
    assert_eq!(client.reconnect(), []);
}

#[test]
fn a_tombstone_is_forgotten_once_accepted() {
    let mut client = wanting(&["*"]);
    let received = client.handle(response("0.1", "1", &[("a", "1")])).unwrap();
    client.accept(&received);
    let mut removal = response("0.2", "2", &[]);
    removal.removed = vec!["a".into()];
    let received = client.handle(removal).unwrap();
    assert_eq!(client.held(SECRET, "a"), Some("1"));
    client.accept(&received);
    assert_eq!(client.held(SECRET, "a"), None);
}
