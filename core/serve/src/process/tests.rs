use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::Command;

use rustix::process::dumpable_behavior;

use super::*;
use crate::testing::{is_child, run_as_child, run_as_unprivileged_child};

#[test]
fn hardened_process_keeps_its_secrets() {
    if !is_child() {
        return run_as_child("process::tests::hardened_process_keeps_its_secrets");
    }
    harden_process().unwrap();
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let core = limits.lines().find(|l| l.starts_with("Max core file size"));
    let words: Vec<_> = core.unwrap().split_whitespace().collect();
    assert_eq!(words[4..6], ["0", "0"], "soft and hard");
    assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    std::fs::write(&file, "").unwrap();
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

/// What a process that is not dumpable keeps under `/proc` belongs to root, whoever runs it, and
/// nobody without CAP_SYS_PTRACE reads its memory.
#[test]
fn hardened_process_hides_its_memory() {
    if !is_child() {
        return run_as_unprivileged_child("process::tests::hardened_process_hides_its_memory");
    }
    let environment = format!("/proc/{}/environ", std::process::id());
    assert!(opens_elsewhere(&environment), "not readable before");
    harden_process().unwrap();
    assert_eq!(std::fs::metadata("/proc/self/mem").unwrap().uid(), 0);
    assert!(!opens_elsewhere(&environment), "readable afterwards");
}

/// Whether another process of the same uid can open a file.
fn opens_elsewhere(path: &str) -> bool {
    let open = Command::new("sh")
        .args(["-c", "exec 3<\"$0\"", path])
        .status();
    open.unwrap().success()
}

#[test]
fn descriptor_limit_is_raised() {
    if !is_child() {
        return run_as_child("process::tests::descriptor_limit_is_raised");
    }
    let mut low = getrlimit(Resource::Nofile);
    low.current = Some(64);
    setrlimit(Resource::Nofile, low).unwrap();
    raise_descriptor_limit().unwrap();
    let limit = getrlimit(Resource::Nofile);
    assert_eq!(limit.current, limit.maximum);
}
