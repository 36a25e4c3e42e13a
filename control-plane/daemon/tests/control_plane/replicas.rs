//! Several control planes on one database, from outside: real processes, a real server.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;

use countersign_model::Serial;
use countersign_tests_postgres::{Database, shared};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use crate::daemon::Daemon;
use crate::disks::{attested, enrol, list, obstacles, register, session};
use crate::harness::*;

/// A database, and a folder in which each control plane has one of its own.
struct Shared {
    folder: TempDir,
    database: Database,
}

impl Shared {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            database: shared().database(),
        }
    }

    /// A control plane of this name, in a folder that may have another.
    fn replica(&self, name: &str, folder: &str) -> Daemon {
        let folder = self.folder.path().join(folder);
        std::fs::create_dir_all(&folder).unwrap();
        let url = self.database.url();
        let settings = format!("[store]\nurl = \"{url}\"\n[replica]\nname = \"{name}\"\n");
        Daemon::configure(&folder, &folder.join("cp"), &settings)
    }

    /// Invites a control plane; the file.
    async fn invite(&self, by: &Daemon, name: &str, file: &str) -> PathBuf {
        let path = self.folder.path().join(file);
        let arguments = ["replica", "invite", "--name", name, "--out"];
        let invited = cli(by, &[&arguments[..], &[path.to_str().unwrap()]].concat()).await;
        assert!(invited.status.success(), "{invited:?}");
        path
    }

    /// Who has written to the database, and what there is of a name in it.
    fn writers_and(&self, name: &str) -> (Vec<Vec<String>>, usize) {
        let of_name = format!(
            "SELECT kind, key FROM countersign.changes WHERE key = '{name}' OR key LIKE '%/{name}'"
        );
        let writers = "SELECT name FROM countersign.writers ORDER BY name";
        let of_name = self.database.sql(&of_name).len();
        (self.database.sql(writers), of_name)
    }
}

/// Runs the operator's command line against a control plane.
async fn cli(daemon: &Daemon, arguments: &[&str]) -> Output {
    let mut command = Command::new(countersign());
    command
        .args(arguments)
        .arg("--admin-socket")
        .arg(daemon.socket());
    tokio::time::timeout(BOUND, command.output())
        .await
        .unwrap()
        .unwrap()
}

/// What `replica list --json` of a control plane says, by name.
async fn replicas(daemon: &Daemon) -> Vec<Value> {
    let listed = cli(daemon, &["replica", "list", "--json"]).await;
    assert!(listed.status.success(), "{listed:?}");
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    listed["items"].as_array().unwrap().clone()
}

/// Why the command line did not do something.
fn code(refused: &Output) -> String {
    let error: Value = serde_json::from_slice(&refused.stderr).unwrap();
    error["error"]["code"].as_str().unwrap().to_owned()
}

fn secret_of(path: &Path) -> String {
    let invitation: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    invitation["secret"].as_str().unwrap().to_owned()
}

/// Without an invitation, with one for another, with one that was replaced and with one that is over:
/// the start is refused with cause and remedy, and the database knows nothing of it.
#[tokio::test(flavor = "multi_thread")]
async fn control_plane_without_its_invitation_writes_nothing() {
    let shared = Shared::new();
    let mut a = shared.replica("a", "a");
    a.start().await;
    let alone = replicas(&a).await;
    assert_eq!(alone.len(), 1, "{alone:?}");
    let mut b = shared.replica("b", "b");
    let before = shared.writers_and("b");
    assert_eq!((before.0.len(), before.1), (1, 0));

    let told = b.refused().await;
    assert!(
        told.contains("state of the control plane a, which b has not joined"),
        "{told}"
    );
    assert!(
        told.contains("--join FILE") && told.contains("countersign replica invite"),
        "{told}"
    );
    b.join_with(&shared.invite(&a, "c", "c.invitation").await);
    let told = b.refused().await;
    assert!(
        told.contains("the invitation is for c in example.org, and this is b"),
        "{told}"
    );
    assert_eq!(shared.writers_and("b"), before);

    let replaced = shared.invite(&a, "b", "replaced").await;
    let newer = shared.invite(&a, "b", "newer").await;
    assert_ne!(secret_of(&replaced), secret_of(&newer));
    let before = shared.writers_and("b");
    b.join_with(&replaced);
    let told = b.refused().await;
    assert!(
        told.contains("not one of this database, or was replaced"),
        "{told}"
    );
    assert!(!told.contains(&secret_of(&replaced)), "{told}");
    let over = "UPDATE countersign.entries SET value = \
         jsonb_set(value::jsonb, '{until}', '\"2020-01-01T00:00:00Z\"')::text \
         WHERE kind = 'replica' AND key = 'b' RETURNING key";
    assert_eq!(shared.database.sql(over), [["b"]]);
    b.join_with(&newer);
    let told = b.refused().await;
    assert!(told.contains("good until 2020-01-01T00:00:00Z"), "{told}");
    assert!(told.contains("make another"), "{told}");
    assert_eq!(shared.writers_and("b"), before);
    assert!(!shared.folder.path().join("b/cp/log").exists());
}

/// It joins once, goes on after a restart with the same command, and both tell of both and serve the nodes
/// of both.
#[tokio::test(flavor = "multi_thread")]
async fn invited_control_plane_joins_once_and_is_listed_by_both() {
    let shared = Shared::new();
    let (mut a, mut b) = (shared.replica("a", "a"), shared.replica("b", "b"));
    let by_a = a.start().await;
    let invitation = shared.invite(&a, "b", "b.invitation").await;
    let mode = std::fs::metadata(&invitation).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let invited = replicas(&a).await;
    assert_eq!(
        (&invited[1]["name"], &invited[1]["state"]),
        (&"b".into(), &"invited".into())
    );

    b.join_with(&invitation);
    let by_b = b.start().await;
    until(async || replicas(&a).await[1]["state"] == "joined").await;
    let by_both = [replicas(&a).await, replicas(&b).await];
    for (listed, own) in by_both.iter().zip(["a", "b"]) {
        assert_eq!(listed.len(), 2, "{listed:?}");
        for (it, name) in listed.iter().zip(["a", "b"]) {
            assert_eq!(
                (&it["name"], &it["state"]),
                (&name.into(), &"joined".into())
            );
            assert_eq!(it["answers"], name == own, "{it}");
        }
        assert!(listed[0]["issuing_ca"].is_string(), "{listed:?}");
        assert_ne!(listed[0]["log_id"], listed[1]["log_id"]);
        assert_eq!(listed[0]["log_id"], by_both[0][0]["log_id"]);
        assert_eq!(listed[1]["log_id"], by_both[0][1]["log_id"]);
    }

    // Whoever has the root's key certifies the issuing CA of the other.
    until(async || replicas(&b).await[1]["issuing_ca"].is_string()).await;
    until(async || obstacles(&by_b).await.is_empty()).await;
    let certified = replicas(&a).await[1]["issuing_ca"].clone();
    let cas = cli(&a, &["ca", "status", "--json"]).await;
    let cas: Value = serde_json::from_slice(&cas.stdout).unwrap();
    assert_eq!(cas["roots"][0]["replica"], "", "{cas}");
    let issuing = cas["issuing"].as_array().unwrap();
    let its = issuing.iter().find(|ca| ca["key_id"] == certified);
    assert_eq!(its.expect("it is one of them")["replica"], "b", "{cas}");

    // What one commits is the other's state: a node of one is served by the other, under its own CA.
    let node = attested(&by_a).await;
    let entitlement = register(&by_b, WEB).await.unwrap();
    until(async || list(&by_a).await == [WEB]).await;
    let calls = session(&by_b, &node).await;
    calls.discover(hello()).await.unwrap().entitled().await;
    let serial = enrol(&calls, &entitlement).await.unwrap();
    let serial = Serial::from_bytes(&serial).unwrap().to_string();
    let log_id = by_both[1][1]["log_id"].as_str().unwrap();
    assert!(serial.starts_with(log_id), "{serial} is not of {log_id}");

    let mut copy = shared.replica("b", "copy");
    copy.join_with(&invitation);
    let told = copy.refused().await;
    assert!(told.contains("set another replica.name"), "{told}");
    b.kill().await;
    b.start().await;
    let again = replicas(&b).await;
    assert_eq!(again[1]["log_id"], by_both[1][1]["log_id"]);
    assert_eq!(again[1]["issuing_ca"], certified, "{again:?}");

    let out = invitation.to_str().unwrap();
    for (arguments, exit, why) in [
        (
            &["--name", "c", "--out", out][..],
            2,
            "invitation_file_exists",
        ),
        (&["--name", "b"], 3, "replica_known"),
        (&["--name", "a"], 3, "replica_known"),
        (&["--name", "B"], 3, "replica_name"),
        (
            &["--name", "c", "--ttl", "8d"],
            3,
            "replica_ttl_out_of_bounds",
        ),
    ] {
        let refused = cli(&a, &[&["--json", "replica", "invite"], arguments].concat()).await;
        assert_eq!(
            (refused.status.code(), code(&refused)),
            (Some(exit), why.to_owned())
        );
    }
}

/// It is gone for good: another one ends it by a command, and it does not come back. An invitation is withdrawn.
#[tokio::test(flavor = "multi_thread")]
async fn killed_control_plane_is_sealed_by_a_command() {
    let shared = Shared::new();
    let (mut a, mut b) = (shared.replica("a", "a"), shared.replica("b", "b"));
    a.start().await;
    b.join_with(&shared.invite(&a, "b", "b.invitation").await);
    b.start().await;
    until(async || replicas(&a).await[1]["version"].is_string()).await;
    let joined = replicas(&a).await[1].clone();
    for verb in ["seal", "remove"] {
        let refused = cli(&a, &["--json", "replica", verb, "--name", "b"]).await;
        assert_eq!(code(&refused), "replica_alive");
    }
    b.kill().await;
    let seal = ["--json", "replica", "seal", "--name", "b", "--force"];
    let sealed = cli(&a, &seal).await;
    assert!(sealed.status.success(), "{sealed:?}");
    let sealed: Value = serde_json::from_slice(&sealed.stdout).unwrap();
    assert_eq!(sealed["log_id"], joined["log_id"], "{sealed}");
    assert_eq!(sealed["was_sealed"], false, "{sealed}");
    let folder = Path::new(sealed["folder"].as_str().unwrap());
    assert!(folder.join("checkpoint").exists(), "{sealed}");
    let again = cli(&a, &seal[1..]).await;
    let told = String::from_utf8_lossy(&again.stdout).into_owned();
    assert!(told.starts_with("b was sealed before"), "{again:?}");

    let listed = replicas(&a).await[1].clone();
    assert_eq!(listed["state"], "sealed", "{listed}");
    assert!(listed["issuing_ca"].is_null() && listed["version"].is_null());
    let told = b.refused().await;
    assert!(told.contains("the log of b was sealed"), "{told}");
    assert!(told.contains("another replica.name"), "{told}");

    shared.invite(&a, "c", "c.invitation").await;
    let removed = cli(&a, &["--json", "replica", "remove", "--name", "c"]).await;
    let removed: Value = serde_json::from_slice(&removed.stdout).unwrap();
    assert_eq!(removed["state"], "withdrawn", "{removed}");
    assert_eq!(replicas(&a).await.len(), 2);
}

/// By two commands and a file, while both run. From then on the other one certifies CAs.
#[tokio::test(flavor = "multi_thread")]
async fn key_of_the_root_is_moved_by_a_command() {
    let shared = Shared::new();
    let (mut a, mut b) = (shared.replica("a", "a"), shared.replica("b", "b"));
    a.start().await;
    b.join_with(&shared.invite(&a, "b", "b.invitation").await);
    b.start().await;
    let certifies = async |name: &str| {
        let rows = replicas(&a).await;
        let mut rows = rows.iter().filter(|it| it["certifies"] == true);
        rows.next().is_some_and(|it| it["name"] == name) && rows.next().is_none()
    };
    until(async || certifies("a").await).await;
    let file = shared.folder.path().join("root.key");
    let path = file.to_str().unwrap();

    let none = cli(&b, &["--json", "ca", "give-key", "--out", path]).await;
    assert_eq!(code(&none), "no_key_here");
    assert!(!file.exists());
    let given = cli(&a, &["--json", "ca", "give-key", "--out", path]).await;
    assert!(given.status.success(), "{given:?}");
    let given: Value = serde_json::from_slice(&given.stdout).unwrap();
    let mode = file.metadata().unwrap().permissions().mode();
    assert_eq!(
        (mode & 0o777, &given["keys"][0]["tier"]),
        (0o600, &"root".into())
    );
    let again = cli(&a, &["--json", "ca", "give-key", "--out", path]).await;
    assert_eq!(code(&again), "key_file_exists", "the key is in it alone");
    let pem = std::fs::read_to_string(&file).unwrap();
    assert!(!given.to_string().contains(pem.lines().nth(1).unwrap()));

    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let open = cli(&b, &["--json", "ca", "take-key", "--in", path]).await;
    assert_eq!(code(&open), "key_file");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let taken = cli(&b, &["--json", "ca", "take-key", "--in", path]).await;
    assert!(taken.status.success(), "{taken:?}");
    let taken: Value = serde_json::from_slice(&taken.stdout).unwrap();
    assert_eq!(
        (&taken["replica"], &taken["keys"]),
        (&"b".into(), &given["keys"])
    );
    until(async || certifies("b").await).await;
    // The one that gave it away asks, and is certified by the other.
    let issuing = async || {
        let rows = replicas(&a).await;
        rows[0]["issuing_ca"].as_str().unwrap().to_owned()
    };
    let before = issuing().await;
    let asked = cli(&a, &["ca", "rotate-issuing"]).await;
    assert_eq!(asked.status.code(), Some(3), "{asked:?}");
    until(async || issuing().await != before).await;
    for daemon in [&a, &b] {
        assert!(!daemon.log().contains(pem.lines().nth(1).unwrap()));
    }
}
