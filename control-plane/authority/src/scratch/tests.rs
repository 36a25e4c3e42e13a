use super::*;

struct Scene {
    dir: tempfile::TempDir,
    data_dir: DataDir,
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = DataDir::open(&dir.path().join("cp")).unwrap();
        Self { dir, data_dir }
    }

    fn folder(&self) -> PathBuf {
        self.data_dir.path().join(SCRATCH)
    }

    /// What a backup leaves that is killed.
    fn killed(&self) {
        let scratch = Scratch::new(&self.data_dir).unwrap();
        fs::create_dir_all(scratch.log().join("tile")).unwrap();
        fs::write(scratch.log().join("tile/000"), "").unwrap();
        fs::write(scratch.database(), "").unwrap();
        fs::write(self.folder().join("state.db-journal"), "").unwrap();
        std::mem::forget(scratch);
    }

    fn assert_in_the_way(&self) {
        remove_leftovers(self.data_dir.path());
        let refused = Scratch::new(&self.data_dir).unwrap_err().to_string();
        assert!(refused.contains("move that away"), "{refused}");
    }
}

#[test]
fn what_a_killed_backup_left_goes() {
    let scene = Scene::new();
    scene.killed();
    remove_leftovers(scene.data_dir.path());
    assert!(!scene.folder().exists(), "links, database and marker");
    scene.killed();
    drop(Scratch::new(&scene.data_dir).unwrap());
    assert!(!scene.folder().exists(), "by the next backup");
    fs::create_dir(scene.folder()).unwrap();
    remove_leftovers(scene.data_dir.path());
    assert!(!scene.folder().exists(), "killed before the marker");
}

#[test]
fn what_no_backup_made_stays() {
    let scene = Scene::new();
    let (theirs, log) = (
        scene.folder().join("nightly.tar"),
        scene.folder().join(FOLDER),
    );
    fs::create_dir_all(&log).unwrap();
    fs::write(&theirs, "theirs").unwrap();
    scene.assert_in_the_way();
    assert!(log.exists() && theirs.exists());

    fs::remove_dir_all(scene.folder()).unwrap();
    fs::write(scene.folder(), "theirs").unwrap();
    scene.assert_in_the_way();
    assert_eq!(fs::read(scene.folder()).unwrap(), b"theirs");

    fs::remove_file(scene.folder()).unwrap();
    let elsewhere = scene.dir.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::write(elsewhere.join(MARKER), "").unwrap();
    std::os::unix::fs::symlink(&elsewhere, scene.folder()).unwrap();
    scene.assert_in_the_way();
    assert!(elsewhere.join(MARKER).exists());
}

#[test]
fn a_stranger_among_the_links_stays() {
    let scene = Scene::new();
    scene.killed();
    let theirs = scene.folder().join("nightly.tar");
    fs::write(&theirs, "theirs").unwrap();
    scene.assert_in_the_way();
    assert!(theirs.exists());
    fs::remove_file(theirs).unwrap();
    drop(Scratch::new(&scene.data_dir).unwrap());
    assert!(!scene.folder().exists());
}
