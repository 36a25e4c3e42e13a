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
