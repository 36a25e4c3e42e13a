//! The harness is what it says.

use std::path::PathBuf;
use std::process::Command;

use super::*;

#[test]
fn database_belongs_to_a_role_that_may_nothing_else() {
    let (one, other) = (shared().database(), shared().database());
    let made = one
        .url()
        .sql("create table t (n int); insert into t values (1), (2)");
    made.unwrap();
    assert_eq!(one.sql("select n from t order by n"), [["1"], ["2"]]);
    let missing = other.url().sql("select n from t").unwrap_err();
    assert!(missing.contains("does not exist"), "{missing}");
    for more in ["create database more", "create role more"] {
        let refused = one.url().sql(more).unwrap_err();
        assert!(refused.contains("permission denied"), "{refused}");
    }
    let refused = one
        .url()
        .with_password("guessed")
        .sql("select 1")
        .unwrap_err();
    assert!(
        refused.contains("password authentication failed"),
        "{refused}"
    );
}

#[test]
fn shared_server_is_durable() {
    let settings = "select setting from pg_settings where name in ('fsync', 'synchronous_commit')";
    assert_eq!(shared().sql(settings), [["on"], ["on"]]);
}

#[test]
fn server_that_requires_tls_refuses_clear_text() {
    let requires_tls = true;
    let cluster = Cluster::with(Setup {
        requires_tls,
        ..Setup::default()
    });
    let version = "select version from pg_stat_ssl where pid = pg_backend_pid()";
    for url in [cluster.url(), cluster.url().at_localhost()] {
        assert_eq!(url.sql(version).unwrap(), [["TLSv1.3"]], "{url}");
    }
    let refused = cluster.url().in_clear().sql("select 1").unwrap_err();
    assert!(refused.contains("no encryption"), "{refused}");
    assert_eq!(shared().url().in_clear().sql("select 1").unwrap(), [["1"]]);
}

#[test]
fn certificate_of_another_is_refused() {
    let cluster = Cluster::start();
    let refused = |url: Url| url.sql("select 1").unwrap_err();
    let other = Authority::make();
    cluster.show(&other, &NAMES);
    let unknown = refused(cluster.url());
    assert!(unknown.contains("certificate verify failed"), "{unknown}");
    let known = cluster.url().trusting(other.path()).sql("select 1");
    assert_eq!(known.unwrap(), [["1"]]);
    cluster.show(&other, &["db.example.org"]);
    let named = refused(cluster.url().trusting(other.path()));
    assert!(named.contains("does not match host name"), "{named}");
}

/// Where a process of the test tells its folder.
const TELL: &str = "COUNTERSIGN_TELL_FOLDER";

#[test]
fn nothing_remains_of_a_process_that_is_killed() {
    if let Some(told) = std::env::var_os(TELL) {
        std::fs::write(told, shared().ca().parent().unwrap().to_str().unwrap()).unwrap();
        std::process::abort();
    }
    let folder = tempfile::tempdir().unwrap();
    let told = folder.path().join("told");
    let test = "tests::nothing_remains_of_a_process_that_is_killed";
    let mut child = Command::new("/proc/self/exe");
    let child = child.args(["--exact", test]).env(TELL, &told).output();
    assert!(!child.unwrap().status.success(), "it was not killed");
    let of_child = PathBuf::from(std::fs::read_to_string(told).unwrap());
    let of_child = of_child.parent().unwrap().to_owned();
    let is_gone = wait::until(|| (!of_child.exists()).then_some(()));
    assert!(is_gone.is_some(), "{} stays", of_child.display());
    let working = cluster::processes_in(&of_child);
    assert!(
        working.is_empty(),
        "{working:?} run in {}",
        of_child.display()
    );
}

#[test]
fn server_that_was_killed_has_what_it_acknowledged() {
    let cluster = Cluster::start();
    let address = cluster.address();
    cluster.sql("create table t (n int); insert into t values (1)");
    cluster.kill();
    let refused = cluster.url().sql("select 1").unwrap_err();
    assert!(refused.contains("Connection refused"), "{refused}");
    cluster.start_again();
    assert_eq!(cluster.sql("select n from t"), [["1"]]);
    assert!(
        cluster.log().contains("not properly shut down"),
        "{}",
        cluster.log()
    );
    cluster.stop();
    cluster.start_again();
    assert_eq!(cluster.address(), address);
    assert_eq!(cluster.url().sql("select 1").unwrap(), [["1"]]);
    assert!(cluster.log().contains("received fast shutdown request"));
}

#[test]
fn frozen_server_answers_when_it_is_thawed() {
    let cluster = Cluster::start();
    let url = cluster.url();
    cluster.freeze();
    let asked = std::thread::spawn(move || url.sql("select 1"));
    let short = cluster.url().with("connect_timeout", "2");
    let late = short.sql("select 1").unwrap_err();
    assert!(late.contains("timeout expired"), "{late}");
    assert!(!asked.is_finished(), "it answers");
    cluster.thaw();
    assert_eq!(asked.join().unwrap().unwrap(), [["1"]]);
}

#[test]
fn standby_follows_and_is_promoted() {
    let primary = Cluster::start();
    primary.sql("create table t (n int); insert into t values (1)");
    let standby = primary.standby();
    primary.sql("insert into t values (2)");
    standby.catch_up(&primary);
    assert_eq!(standby.sql("select n from t order by n"), [["1"], ["2"]]);
    let refused = standby.try_sql("insert into t values (3)").unwrap_err();
    assert!(refused.contains("read-only transaction"), "{refused}");
    primary.kill();
    standby.promote();
    let addresses = [primary.address(), standby.address()];
    let url = primary
        .url()
        .at(&addresses)
        .with("target_session_attrs", "read-write");
    assert_eq!(
        url.sql("select count(*) from pg_database").unwrap().len(),
        1
    );
    standby.sql("insert into t values (3)");
    assert!(!standby.is_standby());
}

#[test]
fn required_standby_is_waited_for() {
    let primary = Cluster::start();
    let standby = primary.standby();
    primary.require(&standby);
    primary.sql("create table t (n int)");
    standby.freeze();
    let url = primary.url();
    let asked = std::thread::spawn(move || url.sql("create table u (n int)"));
    let waiting = "select 1 from pg_stat_activity where wait_event = 'SyncRep'";
    let waits = wait::until(|| (!primary.sql(waiting).is_empty()).then_some(()));
    waits.unwrap();
    standby.thaw();
    asked.join().unwrap().unwrap();
    standby.catch_up(&primary);
    assert_eq!(
        standby.sql("select n from u"),
        primary.sql("select n from u")
    );
    standby.kill();
    primary.require_none();
    primary.sql("insert into t values (1)");
}

/// A transaction that adds a row, as statements of their own.
const TRANSACTION: &str = "begin; insert into t values (1); commit";

#[test]
fn commit_whose_answer_is_lost_is_durable() {
    let database = shared().database();
    let proxy = Proxy::before(shared());
    let url = database.url().at(&[proxy.address()]).in_clear();
    url.sql("create table t (n int)").unwrap();
    proxy.cut_after_commit_forwarded();
    let lost = url.sql(TRANSACTION).unwrap_err();
    assert!(lost.contains("server closed the connection"), "{lost}");
    proxy.wait_for_cuts(1);
    assert_eq!(database.sql("select n from t"), [["1"]]);
    proxy.cut_before_commit_forwarded();
    url.sql(TRANSACTION).unwrap_err();
    proxy.wait_for_cuts(2);
    assert_eq!(database.sql("select n from t"), [["1"]]);
    url.sql(TRANSACTION).unwrap();
    proxy.wait_for_commits(2);
    assert_eq!(database.sql("select n from t"), [["1"], ["1"]]);
}

#[test]
fn prepared_commit_is_cut_too() {
    let database = shared().database();
    database.sql("create table t (n int); grant all on t to countersign");
    let proxy = Proxy::before(shared());
    proxy.cut_after_commit_forwarded();
    let url = database.url().at(&[proxy.address()]).in_clear().to_string();
    let pgbench = Command::new(installed::INSTALLED.program("pgbench"))
        .args(["--no-vacuum", "--protocol=extended", "--transactions=1"])
        .args(["--file=/dev/stdin", &url])
        .stdin(input(&TRANSACTION.replace(';', ";\n")))
        .output()
        .unwrap();
    proxy.wait_for_cuts(1);
    let told = String::from_utf8_lossy(&pgbench.stderr);
    assert!(told.contains("perhaps the backend died"), "{told}");
    assert_eq!(database.sql("select n from t"), [["1"]]);
}

fn input(text: &str) -> std::process::Stdio {
    let (reader, mut writer) = std::io::pipe().unwrap();
    std::io::Write::write_all(&mut writer, text.as_bytes()).unwrap();
    reader.into()
}

#[test]
fn way_to_a_server_is_shut_and_opened() {
    let proxy = Proxy::before(shared());
    let url = shared().url().at(&[proxy.address()]);
    let short = url.clone().with("connect_timeout", "2");
    proxy.black_hole();
    let late = short.sql("select 1").unwrap_err();
    assert!(late.contains("timeout expired"), "{late}");
    proxy.pass();
    assert_eq!(url.sql("select 1").unwrap(), [["1"]]);
    proxy.refuse();
    let refused = url.sql("select 1").unwrap_err();
    assert!(refused.contains("Connection refused"), "{refused}");
    proxy.pass();
    let delay = std::time::Duration::from_millis(100);
    proxy.delay(delay);
    let start = std::time::Instant::now();
    assert_eq!(url.sql("select 1").unwrap(), [["1"]]);
    assert!(start.elapsed() > 4 * delay, "{:?}", start.elapsed());
    proxy.pass();
    let asked = std::thread::spawn(move || url.sql("select pg_sleep(60)"));
    let waits = "select pid from pg_stat_activity where query like 'select pg_sleep%'";
    let is_there = wait::until(|| (!shared().sql(waits).is_empty()).then_some(()));
    is_there.unwrap();
    proxy.drop_connections();
    let dropped = asked.join().unwrap().unwrap_err();
    assert!(
        dropped.contains("connection to server was lost"),
        "{dropped}"
    );
}

#[test]
fn full_disk_refuses_a_write() {
    let small_disk = true;
    let cluster = Cluster::with(Setup {
        small_disk,
        ..Setup::default()
    });
    cluster.sql("create table t (n int, text text); insert into t values (1, 'kept')");
    cluster.fill_disk();
    let more = "insert into t select n, repeat('x', 1000) from generate_series(2, 1000) n";
    let refused = cluster.try_sql(more).unwrap_err();
    assert!(refused.contains("No space left on device"), "{refused}");
    assert_eq!(cluster.sql("select n from t"), [["1"]]);
    cluster.free_disk();
    cluster.sql(more);
    cluster.fill_disk();
    let log = "select pg_logical_emit_message(false, '', repeat('x', 20000000))";
    let stopped = cluster.try_sql(log).unwrap_err();
    assert!(
        stopped.contains("server closed the connection"),
        "{stopped}"
    );
    cluster.free_disk();
    cluster.kill();
    cluster.start_again();
    assert_eq!(cluster.sql("select count(*) from t"), [["1000"]]);
}

#[test]
fn answers_are_held_while_requests_are_done() {
    let database = shared().database();
    let proxy = Proxy::before(shared());
    let url = database.url().at(&[proxy.address()]).in_clear();
    let ask = |text: &'static str| {
        let url = url.clone();
        std::thread::spawn(move || url.sql(text))
    };
    // It waits for the lock until its way back is shut.
    database.sql("create table t (n int); grant all on t to countersign");
    let lock = "begin; lock table t; select pg_sleep(60)";
    let superuser = database.clone();
    let locked = std::thread::spawn(move || superuser.url().sql(lock));
    let of = |what: &str| {
        format!(
            "select pid from pg_stat_activity where datname = current_database() and wait_event_type = '{what}'"
        )
    };
    let seen = |what: &str| wait::until(|| database.sql(&of(what)).concat().pop()).unwrap();
    let holder = seen("Timeout");
    let asked = ask("insert into t values (1)");
    seen("Lock");
    proxy.hold_answers();
    database.sql(&format!("select pg_terminate_backend({holder})"));
    locked.join().unwrap().unwrap_err();
    let is_done = wait::until(|| (database.sql("select n from t") == [["1"]]).then_some(()));
    is_done.unwrap();
    assert!(!asked.is_finished(), "it hears of it");
    proxy.pass();
    asked.join().unwrap().unwrap();
}

#[test]
fn restored_server_has_lost_what_came_after() {
    let cluster = Cluster::start();
    cluster.sql("create table t (n int); insert into t values (1)");
    let backup = cluster.back_up();
    cluster.sql("insert into t values (2)");
    cluster.restore(&backup);
    assert_eq!(cluster.sql("select n from t"), [["1"]]);
}
