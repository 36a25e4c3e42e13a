//! A log that was restored from a backup, and what was kept of the one before.

use std::fs;
use std::path::{Path, PathBuf};

use countersign_proto::log::Restored;
use countersign_proto::log::entry::What;
use countersign_tlog::{Log, Options};
use tempfile::TempDir;

use crate::{LOG_ID, Scene, at, entry, refused};

/// The id of the log that was restored.
pub const NEXT_ID: u32 = 0x0d_4e5f;

/// A log that was backed up at some size, and what was kept of it.
pub struct Restore {
    /// Holds both logs.
    pub scene: Scene,
    /// Checkpoints of the log before, by size, and its key.
    kept: TempDir,
}

/// The name of a log, as the control plane gives it.
pub fn origin(id: u32) -> String {
    format!("example.org/countersign/log/{id:06x}")
}

impl Restore {
    /// A log of 300 entries is backed up; it goes on to 310, and is lost. What is restored goes on
    /// to 320.
    #[allow(clippy::new_without_default, reason = "it makes folders")]
    pub fn new() -> Self {
        let (scene, kept) = (Scene::new(), tempfile::tempdir().unwrap());
        let this = Self { scene, kept };
        let old = this.options("old", LOG_ID);
        let log = Log::open(&old).unwrap();
        this.scene.fill(&log, 200);
        this.keep(&log, &old, 200);
        this.scene.fill(&log, 300);
        log.publish(at(1)).unwrap();
        let new = this.options("new", NEXT_ID);
        copy(&old.dir, &new.dir);
        this.scene.append(&log, |_| refused("after the backup"));
        this.scene.fill(&log, 310);
        this.keep(&log, &old, 310);

        countersign_tlog::take_over(&new, &this.kept.path().join("before")).unwrap();
        let log = Log::open(&new).unwrap();
        this.scene.append(&log, |index| {
            entry(What::Restored(Restored {
                epoch: 2,
                backup_size: index,
                log_id: NEXT_ID,
                previous_log_id: LOG_ID,
            }))
        });
        this.scene.fill(&log, 320);
        log.publish(at(3)).unwrap();
        this
    }

    /// How one of the logs is opened: `old`, `new` or another.
    pub fn options(&self, name: &str, id: u32) -> Options {
        Options {
            dir: self.scene.folder.path().join(name),
            key: self.scene.folder.path().join(name).with_extension("key"),
            origin: origin(id),
        }
    }

    fn keep(&self, log: &Log, options: &Options, size: u64) {
        log.publish(at(2)).unwrap();
        let to = self.kept.path().join(size.to_string());
        fs::copy(options.dir.join("checkpoint"), to).unwrap();
        fs::copy(
            options.dir.join("key.vkey"),
            self.kept.path().join("old.vkey"),
        )
        .unwrap();
    }

    /// The path of what was kept.
    pub fn path(&self, name: &str) -> PathBuf {
        self.kept.path().join(name)
    }

    /// The verifier key of the restored log.
    pub fn new_key(&self) -> PathBuf {
        self.options("new", NEXT_ID).dir.join("key.vkey")
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for child in fs::read_dir(from).unwrap() {
        let (path, is_dir) = child.map(|it| (it.path(), it.path().is_dir())).unwrap();
        let target = to.join(path.file_name().unwrap());
        if is_dir {
            copy(&path, &target);
        } else {
            fs::copy(&path, target).unwrap();
        }
    }
}
