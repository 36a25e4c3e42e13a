//! The files of an issuance log: the number of one of them, then what it holds instead. Both
//! readers look at it, the control plane that goes on with it and the auditor.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use countersign_audit::Audit;
use countersign_proto::convert::time::timestamp;
use countersign_proto::log::entry::What;
use countersign_proto::log::{Entry, Opened, Removed};
use countersign_tlog::{Log, Options};
use prost::Message;

use super::material::now;

/// More than one bundle.
const ENTRIES: u64 = 500;
/// How many of them no checkpoint covers.
const UNPUBLISHED: u64 = 200;

/// A log: its files, its key, and its entries.
struct Sound {
    files: BTreeMap<PathBuf, Vec<u8>>,
    key: Vec<u8>,
    entries: Vec<Vec<u8>>,
}

static SOUND: LazyLock<Sound> = LazyLock::new(sound);

/// What is read back is what was written, in its order; what cannot be is refused.
pub fn run(data: &[u8]) -> bool {
    let Some((number, content)) = data.split_first() else {
        return false;
    };
    let Some((changed, _)) = SOUND.files.iter().nth(usize::from(*number)) else {
        return false;
    };
    let folder = tempfile::tempdir().expect("a folder can be made");
    let log = folder.path().join("log");
    for (path, bytes) in &SOUND.files {
        let bytes = if path == changed { content } else { bytes };
        write(&log.join(path), bytes);
    }
    let verdict = Audit::of(&log).judge(&|_, _| ());
    write(&folder.path().join("key"), &SOUND.key);
    let Ok(opened) = Log::open(&options(folder.path())) else {
        return false;
    };
    let mut read = 0;
    for (entry, index) in opened.scan(0).zip(0..) {
        let Ok((found, bytes)) = entry else {
            return false;
        };
        assert_eq!(found, index);
        assert_eq!(
            *bytes,
            *SOUND.entries[usize::try_from(index).expect("few entries")]
        );
        read += 1;
    }
    assert!(read >= ENTRIES - UNPUBLISHED, "a checkpoint covers them");
    verdict.is_ok_and(|verdict| verdict.sound)
}

fn options(folder: &Path) -> Options {
    Options {
        dir: folder.join("log"),
        key: folder.join("key"),
        origin: "example.org/countersign/log/100000".to_owned(),
    }
}

fn write(path: &Path, bytes: &[u8]) {
    let parent = path.parent().expect("a file is in a folder");
    fs::create_dir_all(parent).expect("the folder is ours");
    fs::write(path, bytes).expect("the folder is ours");
}

/// Every file as it was written.
pub fn seeds() -> Vec<Vec<u8>> {
    let files = (0..).zip(SOUND.files.values());
    let seeds = files.map(|(number, content): (u8, _)| [&[number], &content[..]].concat());
    seeds.collect()
}

fn sound() -> Sound {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let log = Log::open(&options(folder.path())).expect("the folder is ours");
    let entries: Vec<Vec<u8>> = (0..ENTRIES).map(entry).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.expect("a runtime without drivers needs nothing");
    for (index, entry) in (0..).zip(&entries) {
        let make = |_| Ok::<_, std::convert::Infallible>(entry.clone());
        runtime
            .block_on(log.append(make))
            .expect("the disk has room");
        if index == ENTRIES - UNPUBLISHED - 1 {
            log.publish(now()).expect("the disk has room");
        }
    }
    log.attach(7, b"a signature").expect("the disk has room");
    drop(log);
    let mut files = BTreeMap::new();
    collect(&folder.path().join("log"), Path::new(""), &mut files);
    Sound {
        files,
        key: fs::read(folder.path().join("key")).expect("the log made it"),
        entries,
    }
}

fn entry(index: u64) -> Vec<u8> {
    let what = match index {
        0 => What::Opened(Opened {
            trust_domain: "example.org".to_owned(),
            log_id: 1 << 20,
            epoch: 1,
        }),
        _ => What::Removed(Removed {
            id: format!("spiffe://example.org/web/{index}"),
            ..Removed::default()
        }),
    };
    let entry = Entry {
        at: Some(timestamp(now())),
        what: Some(what),
    };
    entry.encode_to_vec()
}

fn collect(folder: &Path, name: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for child in fs::read_dir(folder).expect("the folder is ours").flatten() {
        let (path, name) = (child.path(), name.join(child.file_name()));
        if path.is_dir() {
            collect(&path, &name, files);
        } else {
            // A file of signatures is sparse; a small log is small all the same.
            files.insert(name, fs::read(&path).expect("the folder is ours"));
        }
    }
}
