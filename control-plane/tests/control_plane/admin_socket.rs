//! Who may use the admin socket, and how the command line finds it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;

use countersign_proto::admin::{RegisterRequest, Registration};
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
        copy_program(env!("CARGO_BIN_EXE_countersign"), &binary);
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
    assert!(matches!(refused.status.code(), Some(3 | 4)), "{refused:?}");
    assert!(refused.stdout.is_empty(), "{refused:?}");
    let error: serde_json::Value = serde_json::from_slice(&refused.stderr).unwrap();
    let remedy = error["error"]["remedy"].as_str().unwrap();
    assert!(remedy.contains("its own user and root"), "{error}");
    assert!(plane.cli("list").await.status.success(), "others go on");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_socket_is_named_by_flag_before_variable() {
    let plane = Plane::start().await;
    let run = async |variable: &Path, flag: Option<&Path>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
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
    let registration = Some(registration);
    let refused = admin.register(RegisterRequest { registration }).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
    let code = refused.metadata().get("countersign-code").unwrap();
    assert_eq!(code, "message_too_large");
    assert!(plane.cli("list").await.status.success(), "others go on");
}
