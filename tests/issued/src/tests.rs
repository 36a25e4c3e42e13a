#![allow(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

use countersign_proto::log::entry::What;
use countersign_proto::log::{Entry, Issued};
use prost::Message;
use rcgen::{CertificateParams, DnType, KeyPair, SerialNumber};
use tempfile::TempDir;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::*;

/// An entry, the signature beside it, and the certificate that both are of.
struct Made {
    entry: Vec<u8>,
    signature: Vec<u8>,
    der: Vec<u8>,
}

/// So many certificates that look alike.
fn made(count: u8) -> Vec<Made> {
    let key = KeyPair::generate().unwrap();
    let entries = (0..count).map(|index| {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, format!("Countersign Test CA {index}"));
        let serial = [1, 0, 0, 0, 0, 0, 0, index, 9, 9, 9, 9, 9, 9, 9, 9];
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        let der = params.self_signed(&key).unwrap();
        let (_, read) = X509Certificate::from_der(der.der()).unwrap();
        let what = What::Issued(Issued {
            tbs: read.tbs_certificate.as_ref().to_vec(),
            profile: "root-ca".to_owned(),
            ..Issued::default()
        });
        let entry = Entry {
            at: None,
            what: Some(what),
        };
        Made {
            entry: entry.encode_to_vec(),
            signature: read.signature_value.data.to_vec(),
            der: der.der().to_vec(),
        }
    });
    entries.collect()
}

fn signatures(made: &[Made]) -> Vec<u8> {
    let slots = made.iter().flat_map(|made| {
        let mut slot = vec![u8::try_from(made.signature.len()).unwrap()];
        slot.extend_from_slice(&made.signature);
        slot.resize(80, 0);
        slot
    });
    slots.collect()
}

fn journal(made: &[Made]) -> Vec<u8> {
    let records = made.iter().flat_map(|Made { entry, .. }| {
        let length = u32::try_from(entry.len()).unwrap();
        [&length.to_be_bytes()[..], &[0; 16], entry].concat()
    });
    records.collect()
}

fn bundle(made: &[Made]) -> Vec<u8> {
    let entries = made.iter().flat_map(|Made { entry, .. }| {
        let length = u16::try_from(entry.len()).unwrap();
        [&length.to_be_bytes()[..], entry].concat()
    });
    entries.collect()
}

fn data_dir(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        let path = folder.path().join("log").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    folder
}

fn kept(folder: &Path) -> usize {
    std::fs::read_dir(folder).map_or(0, Iterator::count)
}

#[test]
fn certificates_come_back_as_they_were_signed() {
    let made = made(2);
    let dir = data_dir(&[
        ("journal/0", &journal(&made[1..])),
        ("tile/entries/000.p/1", &bundle(&made[..1])),
        ("signatures/0", &signatures(&made)),
    ]);
    let found = log::certificates(&dir.path().join("log")).unwrap();
    let found: Vec<_> = found.into_iter().map(|found| found.der).collect();
    let signed: Vec<_> = made.into_iter().map(|made| made.der).collect();
    assert_eq!(found, signed);
}

#[test]
fn at_most_eight_of_a_shape_are_kept() {
    let made = made(11);
    let dir = data_dir(&[
        ("journal/0", &journal(&made)),
        ("signatures/0", &signatures(&made)),
    ]);
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(keep_in(folder.path(), dir.path()).unwrap(), MAX_OF_A_SHAPE);
    assert_eq!(kept(folder.path()), MAX_OF_A_SHAPE);
}

#[test]
fn an_unsigned_or_torn_entry_is_no_certificate() {
    let mut made = made(3);
    made[0].signature.clear();
    let mut journal = journal(&made);
    journal.truncate(journal.len() - 1);
    let dir = data_dir(&[
        ("journal/0", &journal),
        ("signatures/0", &signatures(&made)),
    ]);
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(keep_in(folder.path(), dir.path()).unwrap(), 1);
}

#[test]
fn a_folder_without_a_log_keeps_nothing() {
    let (dir, folder) = (data_dir(&[]), tempfile::tempdir().unwrap());
    assert_eq!(keep_in(&folder.path().join("test"), dir.path()).unwrap(), 0);
    assert_eq!(kept(folder.path()), 0, "not even a folder");
}
