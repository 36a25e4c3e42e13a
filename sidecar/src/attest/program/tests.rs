use countersign_serve::places::Holder;

use super::seen::MAX_PROGRAMS;
use super::*;
use crate::attest::selectors::Process;

const USER: Holder = Holder::Uid(7);

fn program(path: &str, inode: u64) -> Program {
    let file = FileId {
        device: (8, 1),
        inode,
        born: None,
    };
    Program {
        path: path.to_owned(),
        file,
    }
}

fn file_at(path: &Path) -> FileId {
    FileId::of(CWD, path.to_str().unwrap(), AtFlags::empty()).unwrap()
}

fn process(pid: u32) -> Process {
    Process { pid, started: 1 }
}

#[test]
fn hostile_links_are_no_selectors() {
    for link in ["relative", "", "/bin/a\nb", " (deleted)"] {
        assert!(selectable(Path::new(link)).is_err(), "{link:?}");
    }
    assert!(selectable(Path::new("/usr/bin/a b:c")).is_ok());
}

#[test]
fn a_file_that_is_gone_keeps_its_path() {
    assert_eq!(selectable(Path::new("/bin/a (deleted)")).unwrap(), "/bin/a");
}

#[test]
fn own_executable_is_here() {
    let path = std::env::current_exe().unwrap();
    let path = path.to_str().unwrap();
    let named = named(std::process::id(), &[path].into()).unwrap().unwrap();
    assert_eq!(named.as_deref(), Some(path));
    let own = Program::of(std::process::id(), path).unwrap().unwrap();
    let own = own.expect("it is asked for");
    own.is_here().unwrap();
    assert!(own.file.inode != 0);
}

#[test]
fn a_path_that_nobody_names_is_not_looked_at() {
    let other = "/usr/bin/other";
    let unnamed = named(std::process::id(), &[other].into()).unwrap();
    assert_eq!(unnamed.unwrap(), None);
    let unnamed = Program::of(std::process::id(), other).unwrap();
    assert_eq!(unnamed.unwrap(), None);
}

#[test]
fn another_file_under_a_path_is_not_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("program");
    fs::write(&path, "one").unwrap();
    let mut one = program(path.to_str().unwrap(), 0);
    one.file = file_at(&path);
    one.is_here().unwrap();
    let two = folder.path().join("two");
    fs::write(&two, "two").unwrap();
    fs::rename(&two, &path).unwrap();
    assert!(matches!(one.is_here(), Err(NotHere::Other { .. })));
    fs::remove_file(&path).unwrap();
    assert!(matches!(one.is_here(), Err(NotHere::Missing { .. })));
}

/// A file system gives the number of a removed file to the next one that is made.
#[test]
fn a_number_used_again_is_another_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("program");
    fs::write(&path, "one").unwrap();
    let first = file_at(&path);
    let later = FileId {
        born: Some((0, 0)),
        ..first
    };
    assert_ne!(first, later);
    assert!(first.born.is_some(), "the file system tells it");
}

#[test]
fn a_process_is_remembered_with_its_file_alone() {
    let programs = Programs::default();
    programs.remember(&USER, process(1), &program("/bin/a", 1));
    assert!(programs.contain(process(1), &program("/bin/a", 1)));
    for (pid, path, inode) in [(2, "/bin/a", 1), (1, "/bin/b", 1), (1, "/bin/a", 2)] {
        assert!(!programs.contain(process(pid), &program(path, inode)));
    }
}

/// Fills the table with processes of one user, all of which run.
fn full() -> Programs {
    let programs = Programs::default();
    for pid in 0..u32::try_from(MAX_PROGRAMS).unwrap() {
        programs.remember_while(&USER, process(pid), &program("/bin/a", 1), |_| true);
    }
    programs
}

fn knows(programs: &Programs, pid: u32) -> bool {
    programs.contain(process(pid), &program("/bin/a", 1))
}

#[test]
fn remembered_programs_are_bounded() {
    let programs = full();
    let see = |pid| programs.remember_while(&USER, process(pid), &program("/bin/a", 1), |_| true);
    // Seen again, so the next is the oldest.
    see(0);
    see(5_000);
    assert_eq!(programs.len(), MAX_PROGRAMS);
    assert!(knows(&programs, 0) && !knows(&programs, 1) && knows(&programs, 5_000));
}

#[test]
fn a_process_that_ended_is_forgotten_first() {
    let programs = full();
    let runs = |it: Process| it.pid != 3;
    programs.remember_while(&USER, process(5_000), &program("/bin/a", 1), runs);
    assert!(knows(&programs, 0) && !knows(&programs, 3));
}

#[test]
fn one_user_displaces_no_process_of_another() {
    let programs = Programs::default();
    let other = Holder::Gid(8);
    programs.remember_while(&other, process(9_999), &program("/bin/a", 1), |_| true);
    for pid in 0..2_000 {
        programs.remember_while(&USER, process(pid), &program("/bin/a", 1), |_| true);
    }
    assert_eq!(programs.len(), MAX_PROGRAMS);
    assert!(knows(&programs, 9_999) && knows(&programs, 1_999));
}
