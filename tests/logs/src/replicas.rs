//! The logs of three replicas, one of which is gone and was sealed by another.

use std::fs;
use std::path::PathBuf;

use countersign_model::Serial;
use countersign_proto::log::entry::What;
use countersign_proto::log::{Joined, Opened, Sealed};
use countersign_tlog::{Archive, Log, NotKept, Options, seal};
use rcgen::KeyPair;

use crate::restore::origin;
use crate::{LOG_ID, Scene, at, entry, issued};

/// The replicas and the ids of their logs.
pub const REPLICAS: [(&str, u32); 3] = [("a", LOG_ID), ("b", LOG_ID + 1), ("c", LOG_ID + 2)];

/// Three logs. That of `a` names the others, and has sealed that of `b`, whose folder is the one that
/// `a` made.
pub struct Replicas {
    /// Holds the logs.
    pub scene: Scene,
    /// What the database has of `b`.
    archive: Memory,
}

impl Replicas {
    /// `b` has a checkpoint of 200 entries when it is lost with 300.
    #[allow(clippy::new_without_default, reason = "it makes folders")]
    pub fn new() -> Self {
        let mut this = Self {
            scene: Scene::new(),
            archive: Memory::default(),
        };
        this.archive = this.lost();
        let log = this.begin("a");
        for (name, id) in &REPLICAS[1..] {
            this.scene.append(&log, |_| joined(*id, name));
        }
        this.scene.fill(&log, 280);
        let sealed = this.seal();
        this.scene.append(&log, |_| sealed.clone());
        log.publish(at(3)).unwrap();
        let log = this.begin("c");
        this.scene.fill(&log, 20);
        log.publish(at(3)).unwrap();
        this
    }

    /// `b`, as long as it lived, and what the database has of it.
    fn lost(&self) -> Memory {
        let mut archive = Memory::default();
        let log = self.begin("b");
        self.scene.fill(&log, 200);
        log.publish(at(1)).unwrap();
        for (from, to) in [("checkpoint", "b.checkpoint"), ("key.vkey", "b.vkey")] {
            fs::copy(self.options("b").dir.join(from), self.path(to)).unwrap();
        }
        self.scene.fill(&log, 300);
        log.fill(&mut archive).unwrap();
        drop(log);
        fs::remove_dir_all(self.options("b").dir).unwrap();
        archive
    }

    /// A new log of a replica, with one certificate.
    fn begin(&self, name: &str) -> Log {
        let log = Log::open(&self.options(name)).unwrap();
        let id = id_of(name);
        self.scene.append(&log, |_| opened(id));
        let (key, spiffe) = (
            KeyPair::generate().unwrap(),
            format!("spiffe://example.org/{name}"),
        );
        self.scene.append(&log, |index| {
            issued(&key, &spiffe, Serial::new(id, index, [9; 8]).unwrap())
        });
        log
    }

    /// How the log of a replica is opened; that of `b` as its sealer does.
    pub fn options(&self, name: &str) -> Options {
        Options {
            dir: self.path(name),
            key: self.path(name).with_extension("key"),
            origin: origin(id_of(name)),
        }
    }

    /// Seals the log of `b` and makes the entry that says so.
    fn seal(&mut self) -> Vec<u8> {
        let options = Options {
            key: self.options("a").key,
            ..self.options("b")
        };
        let made = seal(&options, &mut self.archive, &mut |_, _| true);
        let made = made.unwrap().expect("nobody ends it");
        sealed(LOG_ID + 1, made.size, &made.root)
    }

    /// Seals the log of `b` once more, though it was given another entry; nobody says so.
    pub fn seal_more(&mut self, entry: Vec<u8>) {
        self.archive.0.push(entry);
        self.seal();
    }

    /// Appends to the log of a replica that lives, and publishes it.
    pub fn append(&self, name: &str, entry: &[u8]) {
        let log = Log::open(&self.options(name)).unwrap();
        self.scene.append(&log, |_| entry.to_vec());
        log.publish(at(4)).unwrap();
    }

    /// A path below the folder that holds everything: `a`, `b` and `c` are the logs, `b.checkpoint` and
    /// `b.vkey` were kept of the lost one.
    pub fn path(&self, name: &str) -> PathBuf {
        self.scene.folder.path().join(name)
    }
}

/// The id of the log of a replica.
fn id_of(name: &str) -> u32 {
    let found = REPLICAS.iter().find(|(replica, _)| *replica == name);
    found.map_or(LOG_ID, |(_, id)| *id)
}

/// The first entry of a log.
pub fn opened(log_id: u32) -> Vec<u8> {
    entry(What::Opened(Opened {
        trust_domain: "example.org".to_owned(),
        log_id,
        epoch: 1,
    }))
}

/// That a log has ended.
pub fn sealed(log_id: u32, size: u64, root_hash: &[u8]) -> Vec<u8> {
    entry(What::Sealed(Sealed {
        log_id,
        size,
        root_hash: root_hash.to_vec(),
        replica: "b".to_owned(),
    }))
}

/// That a replica joined.
pub fn joined(log_id: u32, replica: &str) -> Vec<u8> {
    entry(What::Joined(Joined {
        log_id,
        replica: replica.to_owned(),
    }))
}

/// The entries of one log, in memory.
#[derive(Debug, Default)]
struct Memory(Vec<Vec<u8>>);

impl Archive for Memory {
    fn keep(&mut self, first: u64, entries: &[&[u8]]) -> Result<u64, NotKept> {
        assert_eq!(first, self.0.len() as u64);
        self.0.extend(entries.iter().map(|entry| entry.to_vec()));
        Ok(1)
    }

    fn end(&mut self) -> Result<u64, String> {
        Ok(self.0.len() as u64)
    }

    fn page(&mut self, from: u64) -> Result<Vec<(u64, Vec<u8>)>, String> {
        let numbered = (0..).zip(self.0.iter().cloned());
        Ok(numbered.skip_while(|(index, _)| *index < from).collect())
    }
}
