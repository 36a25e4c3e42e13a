use countersign_proto::admin::{Replica, SealReplicaResponse};
use jiff::Timestamp;

use super::invite::Invited;
use super::level::{Level, Raised};
use super::list::text;
use super::row::Row;
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

/// Of each standing one.
fn replicas() -> Vec<Row> {
    let joined = |name: &str, standing: &str, since: i64| Replica {
        log_id: Some(0x0a_0b0c),
        since: wire(NOW - 7_200),
        version: Some("0.1.0".to_owned()),
        sequence: Some(17),
        streams: Some(3),
        lag: Some(0),
        last_seen: wire(NOW - 5),
        issuing_ca: "0a".repeat(20),
        issuing_ca_not_after: wire(NOW + 7_200),
        standing: standing.to_owned(),
        standing_since: wire(NOW - since),
        needs_attention: standing != "live",
        ..replica(name, "joined")
    };
    let rows = [
        Replica {
            answers: true,
            certifies: Some(true),
            ends_by_time: true,
            clock_ahead_secs: Some(0),
            address: Some("https://cp-a:8443".to_owned()),
            ..joined("a", "live", 7_200)
        },
        joined("b", "silent", 180),
        Replica {
            clock_ahead_secs: Some(-7_200),
            standing_since: None,
            ..joined("c", "clock_differs", 0)
        },
        Replica {
            issuing_ca: String::new(),
            issuing_ca_not_after: None,
            ..joined("d", "without_issuing_ca", 90)
        },
        Replica {
            sealed_entries: Some(4_096),
            sealed_of: Some(20_114),
            ..joined("e", "fenced", 30)
        },
        joined("f", "fenced", 300),
        Replica {
            until: wire(NOW + 2_520),
            standing: "invited".to_owned(),
            standing_since: wire(NOW + 2_520),
            ..replica("g", "invited")
        },
        Replica {
            until: wire(NOW - 180),
            standing: "invitation_over".to_owned(),
            standing_since: wire(NOW - 180),
            ..replica("h", "invited")
        },
        Replica {
            log_id: Some(2),
            since: wire(NOW - 259_200),
            standing: "sealed".to_owned(),
            standing_since: wire(NOW - 259_200),
            ..replica("i", "sealed")
        },
    ];
    rows.into_iter().map(Row::from).collect()
}

#[test]
fn list_shows_each_state_and_who_answers() {
    let shown = text(&replicas(), at(NOW), Look::default()).to_string();
    let expected = "\
REPLICA      STATE                                STREAMS  LAG  ISSUING CA  ENDS    ROLE                         VERSION  LAST SEEN  LOG
a (answers)  live                                 3        0    0a0a0a0a…   in 2 h  certifies CAs, ends by time  0.1.0    5 s ago    0a0b0c
b            silent for 3 min                     3        0    0a0a0a0a…   in 2 h  -                            0.1.0    5 s ago    0a0b0c
c            clock 2 h behind                     3        0    0a0a0a0a…   in 2 h  -                            0.1.0    5 s ago    0a0b0c
d            no issuing CA for 90 s               3        0    -           -       -                            0.1.0    5 s ago    0a0b0c
e            being sealed: 4096 of 20114 entries  3        0    0a0a0a0a…   in 2 h  -                            0.1.0    5 s ago    0a0b0c
f            seal not finished for 5 min          3        0    0a0a0a0a…   in 2 h  -                            0.1.0    5 s ago    0a0b0c
g            invited, 42 min left                 -        -    -           -       -                            -        -          -
h            invitation over 3 min ago            -        -    -           -       -                            -        -          -
i            sealed 3 d ago                       -        -    -           -       -                            -        -          000002";
    assert_eq!(shown, expected);
}

#[test]
fn replica_that_needs_attention_has_its_command() {
    let called = Called::new(&Named::new(None), Vec::new());
    let commands: Vec<_> = replicas()
        .iter()
        .filter(|it| it.needs_attention)
        .map(|it| (it.name.clone(), it.commands(&called).pop().unwrap()))
        .collect();
    let seal = |name: &str, why: &str| {
        let command = format!("countersign replica seal --name {name}{why}");
        (name.to_owned(), command)
    };
    let of = |name: &str, command: &str| (name.to_owned(), command.to_owned());
    let expected = [
        seal("b", "    # where it is gone for good"),
        of("c", "timedatectl    # on each of the two machines"),
        of("d", "countersign ca status"),
        seal("e", ""),
        seal("f", ""),
    ];
    assert_eq!(commands, expected);
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
        "name": "g", "state": "invited", "answers": false, "log_id": null, "since": null,
        "until": "2030-03-17T18:28:40Z", "issuing_ca": null, "issuing_ca_not_after": null,
        "version": null, "sequence": null, "streams": null, "last_seen": null, "address": null,
        "certifies": null, "ends_by_time": false, "standing": "invited",
        "standing_since": "2030-03-17T18:28:40Z", "needs_attention": false, "lag": null,
        "clock_ahead_secs": null, "sealing": null,
        "speaks": null,
    });
    assert_eq!(rows[6], expected);
    assert_eq!(
        rows[4]["sealing"],
        serde_json::json!({ "entries": 4_096, "of": 20_114 })
    );
    assert_eq!(rows[0]["log_id"], "0a0b0c");
}

fn level(level: i32, speaks: i32, held_back_by: &[&str]) -> Level {
    Level {
        level,
        speaks,
        held_back_by: held_back_by.iter().map(|&it| it.to_owned()).collect(),
    }
}

#[test]
fn level_tells_who_holds_it_back_and_what_raises_it() {
    let told = |it: Level| it.told(&Called::default());
    assert_eq!(told(level(3, 3, &[])), "level 3");
    let all = told(level(1, 3, &[]));
    assert!(all.contains("`countersign replica raise`"), "{all}");
    assert!(all.contains("cannot come back"), "{all}");
    let back = told(level(1, 3, &["b", "c"]));
    for part in [
        "level 1, and 3 once b, c",
        "`countersign replica remove --name b`",
    ] {
        assert!(back.contains(part), "{back}");
    }
}

#[test]
fn raise_tells_what_was_done() {
    let raised = |was_raised| Raised {
        level: level(3, 3, &[]),
        was_raised,
    };
    assert!(raised(false).text().starts_with("the level is 3"));
    assert!(raised(true).text().contains("nothing was done"));
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
