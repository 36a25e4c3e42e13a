use super::*;

fn found() -> Found {
    Found {
        database: "db1:5432,db2:5432/countersign".to_owned(),
        server_version: "15.18".to_owned(),
        tls: Some("TLSv1.3".to_owned()),
        role: "countersign".to_owned(),
        superuser: false,
        schema: Some(1),
        known_schema: 1,
        usable: true,
        commits: Some(812),
        entries: Some(40),
        logs: Vec::new(),
        replicas: vec!["a".to_owned()],
        durable: true,
        synchronous_standbys: "db2".to_owned(),
        notifies: true,
        round_trip_us: 140,
    }
}

#[test]
fn sound_database_is_told_in_lines() {
    let told = found().text();
    let expected = "\
database      db1:5432,db2:5432/countersign
server        PostgreSQL 15.18
encrypted     TLSv1.3
role          countersign
schema        1, this program knows 1
content       40 entries of 812 commits, written by a
durable       a commit waits for db2
follows       by notices
round trip    140 µs
a control plane can use it";
    assert_eq!(told, expected);
}

#[test]
fn what_is_wrong_with_a_database_is_told() {
    let told = |change: &dyn Fn(&mut Found)| {
        let mut found = found();
        change(&mut found);
        found.text()
    };
    let text = told(&|it| (it.durable, it.usable) = (false, false));
    assert!(
        text.contains("acknowledges what a crash takes back"),
        "{text}"
    );
    let text = told(&|it| (it.schema, it.usable, it.commits) = (None, false, None));
    assert!(text.contains("countersign store migrate"), "{text}");
    assert!(text.contains("content       nothing"), "{text}");
    let text = told(&|it| it.logs = vec![Log::new((0, 7)), Log::new((3, 41))]);
    assert!(
        text.contains("\nlogs          0 with 7 entries, 3 with 41 entries\ndurable"),
        "{text}"
    );
    let text = told(&|it| it.superuser = true);
    assert!(text.contains("a superuser"), "{text}");
    let text = told(&|it| it.synchronous_standbys = String::new());
    assert!(text.contains("waits for no standby"), "{text}");
}
