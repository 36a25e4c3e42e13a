use std::convert::Infallible;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;
use countersign_model::Serial;
use countersign_proto::log::entry::What;
use countersign_proto::log::{Entry, Issued, Opened, Refused, Voided};
use countersign_tlog::{Log, Options};
use jiff::{SignedDuration, Timestamp};
use prost::Message;
use rcgen::{CertificateParams, KeyPair, SanType, SerialNumber};
use tempfile::TempDir;
use x509_parser::prelude::FromDer;

use super::census::{Census, Keys};
use super::flaw::Flaw;
use super::folder::Folder;
use super::keys::LogKeys;
use super::verify::{Report, verify};
use super::*;

mod damage;
mod proofs;
mod restores;
mod verdicts;

const LOG_ID: u32 = 0x0a_1b2c;

/// A real log, made by the crate that is judged here.
struct Scene {
    folder: TempDir,
    runtime: tokio::runtime::Runtime,
}

impl Scene {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        Self {
            folder: tempfile::tempdir().unwrap(),
            runtime: runtime.unwrap(),
        }
    }

    fn dir(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn path(&self, name: &str) -> String {
        self.dir().join(name).display().to_string()
    }

    fn open(&self) -> Log {
        let options = Options {
            dir: self.dir(),
            key: self.folder.path().join("key"),
            origin: "example.org/log".to_owned(),
        };
        Log::open(&options).unwrap()
    }

    fn append(&self, log: &Log, make: impl Fn(u64) -> Vec<u8>) -> u64 {
        let appended = log.append(|index| Ok::<_, Infallible>(make(index)));
        self.runtime.block_on(appended).unwrap()
    }

    /// Small entries, an opening one first.
    fn fill(&self, log: &Log, until: u64) {
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

    fn judge(&self) -> (Option<Report>, Vec<Flaw>) {
        self.judge_with(&[], &mut Keys::default())
    }

    fn judge_with(&self, given: &[PathBuf], keys: &mut Keys) -> (Option<Report>, Vec<Flaw>) {
        let folder = Folder::new(&self.dir());
        let key = LogKeys::open(None, &folder).unwrap();
        verify(&folder, &key, given, keys, Output::new(true)).unwrap()
    }
}

fn at(hours: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hours)
}

fn entry(what: What) -> Vec<u8> {
    let entry = Entry {
        at: Some(prost_types::Timestamp {
            seconds: 1_900_000_000,
            nanos: 0,
        }),
        what: Some(what),
    };
    entry.encode_to_vec()
}

fn opened() -> Vec<u8> {
    entry(What::Opened(Opened {
        trust_domain: "example.org".to_owned(),
        log_id: LOG_ID,
        epoch: 1,
    }))
}

fn refused(caller: &str) -> Vec<u8> {
    entry(What::Refused(Refused {
        caller: caller.to_owned(),
        ..Refused::default()
    }))
}

/// A certificate as the control plane logs it, before it is signed.
fn issued(key: &KeyPair, id: &str, serial: Serial) -> Vec<u8> {
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

fn serial(index: u64) -> Serial {
    Serial::new(LOG_ID, index, [9; 8]).unwrap()
}

/// Runs the command line as a user would.
fn run(line: &[&str]) -> Result<Exit, Failure> {
    let cli = crate::cli::Cli::try_parse_from([&["countersign", "--json"], line].concat()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(cli.run())
}
