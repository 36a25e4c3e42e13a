use super::*;

fn program(path: &str, inode: u64) -> Program {
    let file = FileId {
        device: 1,
        inode,
        born: None,
    };
    Program {
        path: path.to_owned(),
        file,
    }
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
    let own = Program::of(std::process::id()).unwrap().unwrap();
    own.is_here().unwrap();
    assert!(own.file.inode != 0);
}

#[test]
fn another_file_under_a_path_is_not_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("program");
    fs::write(&path, "one").unwrap();
    let mut one = program(path.to_str().unwrap(), 0);
    one.file = FileId::of(&fs::metadata(&path).unwrap());
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
    let first = FileId::of(&fs::metadata(&path).unwrap());
    let later = FileId {
        born: Some(SystemTime::UNIX_EPOCH),
        ..first
    };
    assert_ne!(first, later);
    assert!(first.born.is_some(), "the file system tells it");
}

#[test]
fn a_process_is_remembered_with_its_file_alone() {
    let programs = Programs::default();
    programs.remember(process(1), &program("/bin/a", 1));
    assert!(programs.contain(process(1), &program("/bin/a", 1)));
    for (pid, path, inode) in [(2, "/bin/a", 1), (1, "/bin/b", 1), (1, "/bin/a", 2)] {
        assert!(!programs.contain(process(pid), &program(path, inode)));
    }
}

#[test]
fn the_oldest_process_is_forgotten_first() {
    let programs = Programs::default();
    for pid in 0..u32::try_from(MAX_PROGRAMS).unwrap() + 1 {
        programs.remember(process(pid), &program("/bin/a", 1));
        programs.remember(process(pid), &program("/bin/a", 1));
    }
    assert_eq!(programs.0.lock().unwrap().len(), MAX_PROGRAMS);
    assert!(!programs.contain(process(0), &program("/bin/a", 1)));
    assert!(programs.contain(process(1), &program("/bin/a", 1)));
}
