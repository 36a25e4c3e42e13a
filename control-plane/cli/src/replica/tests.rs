use countersign_proto::admin::{Replica, SealReplicaResponse};
use jiff::Timestamp;

use super::invite::Invited;
use super::list::{Row, text};
use super::seal::Ended;
use crate::called::Called;
use crate::socket::Named;
use crate::table::Look;

const NOW: i64 = 1_900_000_000;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn wire(second: i64) -> Option<prost_types::Timestamp> {
    Some(prost_types::Timestamp {
        seconds: second,
        nanos: 0,
    })
}

fn replica(name: &str, state: &str) -> Replica {
    Replica {
        name: name.to_owned(),
        state: state.to_owned(),
        ..Replica::default()
    }
}

/// Of each state one, and one that wrote of itself.
fn replicas() -> Vec<Row> {
    let rows = [
        Replica {
            log_id: Some(0x0a_0b0c),
            since: wire(NOW - 7_200),
            answers: true,
            issuing_ca: "0a".repeat(20),
            issuing_ca_not_after: wire(NOW + 7_200),
            ..replica("a", "joined")
        },
        Replica {
            log_id: Some(1),
            since: wire(NOW - 60),
            version: Some("0.1.0".to_owned()),
            sequence: Some(17),
            streams: Some(3),
            leads: Some(true),
            last_seen: wire(NOW - 5),
            ..replica("b", "joined")
        },
        Replica {
            until: wire(NOW + 2_520),
            ..replica("c", "invited")
        },
        Replica {
            until: wire(NOW - 180),
            ..replica("d", "invited")
        },
        Replica {
            log_id: Some(2),
            since: wire(NOW - 259_200),
            ..replica("e", "sealed")
        },
    ];
    rows.into_iter().map(Row::from).collect()
}

#[test]
fn list_shows_each_state_and_who_answers() {
    let shown = text(&replicas(), at(NOW), Look::default()).to_string();
    let expected = "\
REPLICA      STATE                      LOG     ISSUING CA  ENDS    VERSION  SEQUENCE  STREAMS  LAST SEEN
a (answers)  joined 2 h ago             0a0b0c  0a0a0a0a…   in 2 h  -        -         -        -
b (leads)    joined 60 s ago            000001  -           -       0.1.0    17        3        5 s ago
c            invited, 42 min left       -       -           -       -        -         -        -
d            invitation over 3 min ago  -       -           -       -        -         -        -
e            sealed 3 d ago             000002  -           -       -        -         -        -";
    assert_eq!(shown, expected);
}

#[test]
fn control_plane_with_files_is_told_alone() {
    let shown = text(&[], at(NOW), Look::default()).to_string();
    assert!(
        shown.contains("alone") && shown.contains("store.url"),
        "{shown}"
    );
}

#[test]
fn row_is_json_with_what_is_unknown_as_null() {
    let rows = serde_json::to_value(replicas()).unwrap();
    let expected = serde_json::json!({
        "name": "c", "state": "invited", "answers": false, "log_id": null, "since": null,
        "until": "2030-03-17T18:28:40Z", "issuing_ca": null, "issuing_ca_not_after": null,
        "version": null, "sequence": null, "streams": null, "leads": null, "last_seen": null,
    });
    assert_eq!(rows[2], expected);
    assert_eq!(rows[0]["log_id"], "0a0b0c");
}

fn invited(path: Option<&str>) -> Invited {
    Invited {
        name: "b".to_owned(),
        invitation: path.is_none().then(|| "{}\n".to_owned()),
        path: path.map(Into::into),
        until: Some(at(NOW)),
    }
}

#[test]
fn invitation_tells_the_command_of_the_new_machine() {
    let called = Called::new(&Named::new(Some("/x".into())), vec!["replica".to_owned()]);
    let told = invited(Some("/tmp/my folder/b invitation")).text(&called);
    for part in [
        "/tmp/my folder/b invitation: b can join with it once, until 2030-03-17T17:46:40Z",
        "countersign-control-plane run --config b.toml --join 'b invitation'",
        "`countersign --admin-socket /x replica list`",
    ] {
        assert!(told.contains(part), "{told}");
    }
}

#[test]
fn invitation_on_stdout_stands_alone() {
    assert_eq!(invited(None).text(&Called::default()), "{}");
}

fn sealed(was_sealed: bool, folder: &str) -> Ended {
    let wire = SealReplicaResponse {
        log_id: 0x0a_0b0c,
        size: 300,
        root_hash: "0d".repeat(32),
        since: wire(NOW),
        was_sealed,
        folder: folder.to_owned(),
    };
    Ended::sealed("b".to_owned(), wire)
}

#[test]
fn seal_tells_what_is_kept_and_where() {
    let told = sealed(false, "/var/lib/countersign/sealed/0a0b0c").text(&Called::default());
    for part in [
        "b is sealed, at 2030-03-17T17:46:40Z",
        "what it issued stays valid",
        "its log 0a0b0c has 300 entries, root 0d0d",
        "/var/lib/countersign/sealed/0a0b0c",
    ] {
        assert!(told.contains(part), "{told}");
    }
    let told = sealed(true, "").text(&Called::default());
    assert!(told.starts_with("b was sealed before"), "{told}");
    assert!(told.contains("not at the one that answered"), "{told}");
    let told = Ended::withdrawn("c".to_owned()).text(&Called::default());
    assert!(told.contains("c cannot join any more"), "{told}");
}

#[test]
fn seal_is_json_with_null_for_an_invitation() {
    let of = |ended| serde_json::to_value::<Ended>(ended).unwrap();
    let expected = serde_json::json!({
        "name": "b", "state": "sealed", "was_sealed": false, "log_id": "0a0b0c", "size": 300,
        "root_hash": "0d".repeat(32), "since": "2030-03-17T17:46:40Z", "folder": "/x",
    });
    assert_eq!(of(sealed(false, "/x")), expected);
    let expected = serde_json::json!({
        "name": "c", "state": "withdrawn", "was_sealed": null, "log_id": null, "size": null,
        "root_hash": null, "since": null, "folder": null,
    });
    assert_eq!(of(Ended::withdrawn("c".to_owned())), expected);
}
