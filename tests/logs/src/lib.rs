//! Real logs for tests of what reads them: made by the code that the control plane writes its own
//! with, of entries that are as small as can be. No daemon and no command depends on it.
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot make its log has failed"
)]

pub mod replicas;
pub mod restore;

use std::convert::Infallible;
use std::path::PathBuf;

use countersign_model::Serial;
use countersign_proto::log::entry::What;
use countersign_proto::log::{Entry, Issued, Opened, Refused};
use countersign_tlog::{Log, Options};
use jiff::{SignedDuration, Timestamp};
use prost::Message;
use rcgen::{CertificateParams, KeyPair, SanType, SerialNumber};
use tempfile::TempDir;
use x509_parser::prelude::FromDer;

pub use replicas::Replicas;
pub use restore::Restore;

/// The id of a log, as its first entry tells it.
pub const LOG_ID: u32 = 0x0a_1b2c;

/// A real log, in a folder of its own.
pub struct Scene {
    /// Holds the folder of the log, and its key.
    pub folder: TempDir,
    runtime: tokio::runtime::Runtime,
}

impl Scene {
    /// Without a log yet.
    #[allow(clippy::new_without_default, reason = "it makes a folder")]
    pub fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        Self {
            folder: tempfile::tempdir().unwrap(),
            runtime: runtime.unwrap(),
        }
    }

    /// The folder of the log.
    pub fn dir(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// The path of a file of the log.
    pub fn path(&self, name: &str) -> String {
        self.dir().join(name).display().to_string()
    }

    /// Makes the log, or goes on with it.
    pub fn open(&self) -> Log {
        let options = Options {
            dir: self.dir(),
            key: self.folder.path().join("key"),
            origin: "example.org/log".to_owned(),
        };
        Log::open(&options).unwrap()
    }

    /// Appends what is made for its index, which is returned.
    pub fn append(&self, log: &Log, make: impl Fn(u64) -> Vec<u8>) -> u64 {
        let appended = log.append(|index| Ok::<_, Infallible>(make(index)));
        self.runtime.block_on(appended).unwrap().index
    }

    /// Appends small entries, an opening one first, until there are so many.
    pub fn fill(&self, log: &Log, until: u64) {
        let make = |index| match index {
            0 => opened(),
            _ => refused(&format!("n{index}")),
        };
        let appends =
            (log.size()..until).map(|_| log.append(move |index| Ok::<_, Infallible>(make(index))));
        let appended = self
            .runtime
            .block_on(futures_util::future::join_all(appends));
        assert!(appended.iter().all(Result::is_ok));
    }
}

/// So many hours after the epoch.
pub fn at(hours: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hours)
}

/// An entry of March 2030.
pub fn entry(what: What) -> Vec<u8> {
    let entry = Entry {
        at: Some(prost_types::Timestamp {
            seconds: 1_900_000_000,
            nanos: 0,
        }),
        what: Some(what),
    };
    entry.encode_to_vec()
}

/// The first entry of a log.
pub fn opened() -> Vec<u8> {
    entry(What::Opened(Opened {
        trust_domain: "example.org".to_owned(),
        log_id: LOG_ID,
        epoch: 1,
    }))
}

/// A small entry.
pub fn refused(caller: &str) -> Vec<u8> {
    entry(What::Refused(Refused {
        caller: caller.to_owned(),
        ..Refused::default()
    }))
}

/// A certificate as the control plane logs it, before it is signed.
pub fn issued(key: &KeyPair, id: &str, serial: Serial) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::URI(id.try_into().unwrap())];
    params.serial_number = Some(SerialNumber::from_slice(serial.as_bytes()));
    let certificate = params.self_signed(key).unwrap();
    let (_, parsed) =
        x509_parser::certificate::X509Certificate::from_der(certificate.der()).unwrap();
    entry(What::Issued(Issued {
        tbs: parsed.tbs_certificate.as_ref().to_vec(),
        profile: "x509-svid".to_owned(),
        owner: "\u{1b}[31mred".to_owned(),
        ..Issued::default()
    }))
}

/// A serial that names an entry of the log.
pub fn serial(index: u64) -> Serial {
    Serial::new(LOG_ID, index, [9; 8]).unwrap()
}
