//! Who may use the admin socket, and how the command line finds it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Output, Stdio};

use countersign_proto::admin::{RegisterRequest, Registration};
use rcgen::KeyPair;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tonic::Code;

use crate::harness::*;

/// A uid that is neither the server's nor root's.
const NOBODY: u32 = 65_534;

fn open_to_all(path: &Path) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).unwrap();
}

/// The command line as another user, with a copy that this user can read.
async fn as_nobody(plane: &Plane) -> Output {
    assert!(
        rustix::process::geteuid().is_root(),
        "run the tests as root: only root can start a process as another user"
    );
    let binary = plane.folder().join("countersign");
    if !binary.exists() {
        copy_program(countersign(), &binary);
    }
    open_to_all(&binary);
    let mut command = Command::new(binary);
    command.args(["--json", "list", "--admin-socket"]);
    command.arg(plane.socket()).uid(NOBODY).gid(NOBODY);
    let output = tokio::time::timeout(BOUND, command.output()).await;
    output.expect("the command line answers").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_uid_is_refused_by_file_mode_and_by_the_kernels_word() {
    let plane = Plane::start().await;
    open_to_all(plane.folder());
    let refused = as_nobody(&plane).await;
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
    let error: serde_json::Value = serde_json::from_slice(&refused.stderr).unwrap();
    assert_eq!(error["error"]["code"], "admin_socket_denied");

    // Even where somebody opened the socket to everyone.
    let socket = plane.socket();
    open_to_all(socket.parent().unwrap());
    open_to_all(&socket);
    let refused = as_nobody(&plane).await;
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
    assert!(refused.stdout.is_empty(), "{refused:?}");
    let error: serde_json::Value = serde_json::from_slice(&refused.stderr).unwrap();
    assert_eq!(error["error"]["code"], "admin_socket_denied");
    let told = error["error"]["message"].as_str().unwrap();
    assert!(told.contains("this is uid 65534"), "{error}");
    assert!(plane.cli("list").await.status.success(), "others go on");
}

/// The control plane is down, and a folder that anybody could make stands where its socket was.
#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sends_nothing_to_a_squatter() {
    let folder = tempfile::tempdir().unwrap();
    let shared = folder.path().join("tmp");
    std::fs::create_dir(&shared).unwrap();
    for path in [folder.path(), &shared] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o1777)).unwrap();
    }
    let script = "import os, socket; os.mkdir('cp'); s = socket.socket(socket.AF_UNIX); \
                  s.bind('cp/admin.sock'); s.listen(); print('listening', flush=True); \
                  c, _ = s.accept(); print(c.recv(64))";
    let mut squatter = Command::new("python3")
        .args(["-c", script])
        .current_dir(&shared)
        .uid(NOBODY)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut said = BufReader::new(squatter.stdout.take().unwrap()).lines();
    assert_eq!(said.next_line().await.unwrap().unwrap(), "listening");
    let mut command = Command::new(countersign());
    command.args(["--json", "ca", "rotate-root", "--admin-socket"]);
    let command = command.arg(shared.join("cp/admin.sock")).output();
    let refused = tokio::time::timeout(BOUND, command).await.unwrap().unwrap();
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
    let error: serde_json::Value = serde_json::from_slice(&refused.stderr).unwrap();
    assert_eq!(error["error"]["code"], "admin_socket_of_another");
    assert_eq!(said.next_line().await.unwrap().unwrap(), "b''");
}

/// What the command line finds without being told: in the folder where it runs.
#[tokio::test(flavor = "multi_thread")]
async fn own_control_plane_is_found_in_the_current_folder() {
    let plane = Plane::start().await;
    let run = async |folder: &Path| {
        let mut command = Command::new(countersign());
        command.args(["--json", "list"]).current_dir(folder);
        command.env_remove("COUNTERSIGN_ADMIN_SOCKET");
        tokio::time::timeout(BOUND, command.output())
            .await
            .unwrap()
            .unwrap()
    };
    let answer = run(plane.folder()).await;
    assert!(answer.status.success(), "{answer:?}");
    // The same folder, once somebody else could exchange what is in it.
    let home = plane.folder().join("home");
    std::fs::create_dir(&home).unwrap();
    std::os::unix::fs::symlink(plane.folder().join("cp"), home.join("cp")).unwrap();
    assert!(run(&home).await.status.success());
    std::os::unix::fs::chown(&home, Some(NOBODY), Some(NOBODY)).unwrap();
    let refused = run(&home).await;
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
    let error: serde_json::Value = serde_json::from_slice(&refused.stderr).unwrap();
    assert_eq!(error["error"]["code"], "admin_socket_of_another");

    let file = plane.folder().join("file");
    std::fs::write(&file, "").unwrap();
    let mut command = Command::new(countersign());
    command
        .args(["--json", "list", "--admin-socket"])
        .arg(&file);
    let refused = command.output().await.unwrap();
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    let error: serde_json::Value = serde_json::from_slice(&refused.stderr).unwrap();
    let message = error["error"]["message"].as_str().unwrap();
    assert!(message.contains("a plain file, not a socket"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_file_is_its_owners_alone() {
    let plane = Plane::start().await;
    let path = plane.folder().join("token");
    let create = format!("token create --node {NODE_A} --out {}", path.display());
    let made = plane.ask(&create).await;
    assert!(
        made["token"].is_null() && made["path"].is_string(),
        "{made}"
    );
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let token = std::fs::read_to_string(&path).unwrap();
    let key = KeyPair::generate().unwrap();
    let session = plane.dial(None).await;
    session.attest(token.trim(), &key, "node").await.unwrap();

    // Another node's may be in it, and is not lost by a slip.
    let create_b = format!("token create --node {NODE_B} --out {}", path.display());
    let refused = plane.cli(&create_b).await;
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    let told = String::from_utf8(refused.stderr).unwrap();
    assert!(told.contains("--replace"), "{told}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), token);
    plane.ask(&format!("{create_b} --replace")).await;
    let token_b = std::fs::read_to_string(&path).unwrap();
    assert_ne!(token_b, token);
    let token = token_b;

    let link = plane.folder().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let create = format!("token create --node {NODE_A} --out {}", link.display());
    let refused = plane.cli(&create).await;
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), token);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_socket_is_named_by_flag_before_variable() {
    let plane = Plane::start().await;
    let run = async |variable: &Path, flag: Option<&Path>| {
        let mut command = Command::new(countersign());
        command
            .arg("list")
            .env("COUNTERSIGN_ADMIN_SOCKET", variable);
        command.args(flag.map(|path| format!("--admin-socket={}", path.display())));
        command.output().await.unwrap().status.code()
    };
    let (there, nowhere) = (plane.socket(), plane.folder().join("none.sock"));
    assert_eq!(run(&there, None).await, Some(0));
    assert_eq!(run(&nowhere, None).await, Some(4));
    assert_eq!(run(&nowhere, Some(&there)).await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oversized_message_is_the_callers_mistake() {
    let plane = Plane::start().await;
    let mut admin = plane.admin().await;
    let registration = Registration {
        owner: "x".repeat(5_000_000),
        ..Registration::default()
    };
    let refused = admin.register(RegisterRequest::whole(registration)).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
    let code = refused.metadata().get("countersign-code").unwrap();
    assert_eq!(code, "message_too_large");
    assert!(plane.cli("list").await.status.success(), "others go on");
}

/// What mends it is pasted by whoever reads it, and must reach the control plane that was asked.
#[tokio::test(flavor = "multi_thread")]
async fn remedies_name_the_socket_that_was_given() {
    let plane = Plane::start().await;
    let socket = plane.socket();
    let refused = plane
        .cli(&format!("node evict --node {NODE_A} --reason lost"))
        .await;
    let told = String::from_utf8(refused.stderr).unwrap();
    let command = format!("countersign --admin-socket {} node list", socket.display());
    assert!(told.contains(&command), "{told}");
    let _node = plane.node(NODE_A).await;
    let evicted = plane
        .cli(&format!("node ban --node {NODE_A} --reason lost"))
        .await;
    let told = String::from_utf8(evicted.stdout).unwrap();
    let command = format!(
        "countersign --admin-socket {} node unban --node {NODE_A}",
        socket.display()
    );
    assert!(told.contains(&command), "{told}");
}

/// One sign for one thing in every verb.
#[tokio::test(flavor = "multi_thread")]
async fn dash_is_stdout_whoever_writes() {
    let plane = Plane::start().await;
    for (verb, begins) in [
        (format!("token create --node {NODE_A} --out -"), ""),
        ("report --html -".to_owned(), "<!DOCTYPE html>"),
        (
            format!("envoy bootstrap --id {WEB} --listen 127.0.0.1:1 --upstream 127.0.0.1:2 -o -"),
            "#",
        ),
    ] {
        let answer = plane.cli(&verb).await;
        assert!(answer.status.success(), "{verb}: {answer:?}");
        let stdout = String::from_utf8(answer.stdout).unwrap();
        assert!(
            stdout.len() > 60 && stdout.starts_with(begins),
            "{verb}: {stdout}"
        );
    }
    assert!(!plane.folder().join("-").exists());
    assert!(!Path::new("-").exists());
}
