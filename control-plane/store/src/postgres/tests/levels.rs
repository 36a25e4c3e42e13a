//! Programs from before there were levels, by the statements that they use.

use super::*;
use crate::Levels;

/// How a program of schema 2 takes its row.
const TAKE: &str = "INSERT INTO countersign.writers AS w (name, instance, batch) \
    VALUES ($1, $2, 0) ON CONFLICT (name) DO UPDATE \
    SET batch = w.batch + 1, run = gen_random_uuid() \
    WHERE w.instance = EXCLUDED.instance RETURNING run::text, batch, instance";

async fn takes(session: &Session, name: &str) -> Result<(), tokio_postgres::Error> {
    let instance = writer(name).instance;
    let client = session.client();
    client.query_one(TAKE, &[&name, &instance]).await.map(drop)
}

/// A database at the first level, with a control plane of this version and one from before.
async fn two() -> (Server, Store, Session) {
    let server = Server::new();
    let (a, _) = server.open().await;
    server.0.sql("UPDATE countersign.schema SET oldest = 1");
    let rows = ["a", "b"].map(|name| Write::put(Kind::Replica, name, &true));
    a.commit(rows.to_vec(), Vec::new()).await.unwrap();
    let before = Session::open(&server.address()).await.unwrap();
    takes(&before, "b").await.unwrap();
    (server, a, before)
}

#[tokio::test]
async fn who_says_nothing_holds_back_the_level() {
    let (_server, a, _before) = two().await;
    let levels = a.raise().await.unwrap();
    let both = [("a", Level::OWN), ("b", Level::FIRST)];
    let both = both.map(|(name, level)| (name.to_owned(), level));
    assert_eq!(
        levels,
        Levels {
            level: Level::FIRST,
            speakers: both.to_vec()
        }
    );
    assert!(levels.in_the_way(Level::OWN).eq(["b"]));
    // Not any more once its log is sealed.
    a.fence_out("b").await.unwrap();
    assert_eq!(a.raise().await.unwrap().level, Level::OWN);
}

/// It was upgraded and goes back: what it said is said of the process before.
#[tokio::test]
async fn who_goes_back_says_nothing_any_more() {
    let (server, a, before) = two().await;
    let (b, _) = open(server.0.url(), "b").await.unwrap();
    a.look_at_levels().await.unwrap();
    assert_eq!(a.levels().1.speaks("b"), Some(Level::OWN));
    drop(b);
    takes(&before, "b").await.unwrap();
    assert_eq!(a.raise().await.unwrap().level, Level::FIRST);
    assert_eq!(a.levels().1.speaks("b"), Some(Level::FIRST));
}

#[tokio::test]
async fn who_is_older_than_the_level_takes_no_row() {
    let (server, a, before) = two().await;
    let (b, _) = open(server.0.url(), "b").await.unwrap();
    assert_eq!(a.raise().await.unwrap().level, Level::OWN);
    for name in ["b", "c"] {
        let refused = takes(&before, name).await.unwrap_err();
        let refused = DatabaseError::of(&refused).to_string();
        assert!(refused.contains("the database is at level 3"), "{refused}");
    }
    // The one that has the row is not disturbed, and others can still be sealed, and the state moved.
    b.commit(vec![put("b", 1)], Vec::new()).await.unwrap();
    a.fence_out("c").await.unwrap();
    drop((a, b));
    let source = look(&server.address()).await.unwrap().unwrap();
    mark_moved(&server.address(), &source, "/var/lib")
        .await
        .unwrap();
}

/// It has looked at the schema and takes its row while the level is raised: one of the two comes first.
#[tokio::test]
async fn row_and_level_are_taken_one_after_the_other() {
    // An old program is about to take a row, of its own or a new one: the level waits, and stays.
    for name in ["b", "c"] {
        let (server, a, before) = two().await;
        let (b, _) = open(server.0.url(), "b").await.unwrap();
        a.commit(vec![Write::put(Kind::Replica, "c", &true)], Vec::new())
            .await
            .unwrap();
        before.client().batch_execute("BEGIN").await.unwrap();
        takes(&before, name).await.unwrap();
        let raise = tokio::spawn(async move { a.raise().await });
        waits(&server).await;
        before.client().batch_execute("COMMIT").await.unwrap();
        assert_eq!(raise.await.unwrap().unwrap().level, Level::FIRST, "{name}");
        drop(b);
    }
    // The level is about to be raised: the program waits, and is refused.
    for name in ["b", "c"] {
        let (server, a, before) = two().await;
        let (b, _) = open(server.0.url(), "b").await.unwrap();
        let raising = Session::open(&server.address()).await.unwrap();
        let raise = "BEGIN; SELECT FROM countersign.writers ORDER BY name FOR UPDATE; \
                     UPDATE countersign.schema SET oldest = 3";
        raising.client().batch_execute(raise).await.unwrap();
        let taken = tokio::spawn(async move { takes(&before, name).await });
        waits(&server).await;
        raising.client().batch_execute("COMMIT").await.unwrap();
        taken.await.unwrap().unwrap_err();
        drop((a, b));
    }
}

/// Returns when a session of the database waits for a lock.
async fn waits(server: &Server) {
    let session = Session::open(&server.address()).await.unwrap();
    let asked = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' \
                 AND datname = current_database()";
    let waited = async {
        while session.client().query(asked, &[]).await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    timeout(BOUND, waited).await.expect("a session waits");
}

#[tokio::test]
async fn level_below_what_a_program_needs_is_refused() {
    let server = Server::new();
    drop(server.open().await);
    server.0.sql("UPDATE countersign.schema SET oldest = 0");
    let refused = open(server.0.url(), "a").await.unwrap_err().to_string();
    assert!(refused.contains("countersign replica raise"), "{refused}");
}

/// A schema of the version before gains what it lacks while a program of that version goes on.
#[tokio::test]
async fn tables_change_under_a_program_of_the_version_before() {
    let server = Server::new();
    let session = Session::open(&server.address()).await.unwrap();
    let tables = [
        "CREATE SCHEMA countersign",
        include_str!("../../../migrations/postgres/0001_commit_log.sql"),
        include_str!("../../../migrations/postgres/0002_issuance_logs.sql"),
        "CREATE TABLE countersign.schema (only_row boolean PRIMARY KEY DEFAULT true, \
         version integer NOT NULL, oldest integer NOT NULL); \
         INSERT INTO countersign.schema (version, oldest) VALUES (2, 1)",
    ];
    for sql in tables {
        session.client().batch_execute(sql).await.unwrap();
    }
    takes(&session, "a").await.unwrap();
    let next = "UPDATE countersign.writers SET batch = batch + 1 WHERE name = 'a' AND batch = $1";
    let next = session.client().prepare(next).await.unwrap();
    assert_eq!(session.client().execute(&next, &[&0_i64]).await.unwrap(), 1);
    let (b, _) = open(server.0.url(), "b").await.unwrap();
    assert_eq!(b.levels().1.level, Level::FIRST);
    assert_eq!(session.client().execute(&next, &[&1_i64]).await.unwrap(), 1);
    takes(&session, "a").await.unwrap();
}
