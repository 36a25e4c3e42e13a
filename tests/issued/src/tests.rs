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
    index: u64,
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
            index: index.into(),
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
    let records = made.iter().flat_map(|Made { index, entry, .. }| {
        let length = u32::try_from(entry.len()).unwrap();
        let (length, index) = (length.to_be_bytes(), index.to_be_bytes());
        // Each is a batch of its own, at the first place of it.
        let checked = [&length[..], &index, &[0; 4]].concat();
        let checksum = crc32fast::hash(&[&checked[..], entry].concat());
        [&checked[..], &checksum.to_be_bytes(), entry].concat()
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

/// Changes what an entry holds, and nothing of its length.
fn exchange(made: &mut Made, what: &[u8], instead: &[u8]) {
    assert_eq!(what.len(), instead.len());
    let mut places = made.entry.windows(what.len());
    let at = places.position(|found| found == what).unwrap();
    made.entry[at..at + what.len()].copy_from_slice(instead);
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

/// A journal of three entries in which one bit of the entry at this place is another.
fn flipped(made: &[Made], place: usize) -> TempDir {
    let mut bytes = journal(made);
    let end = journal(&made[..=place]).len();
    bytes[end - 1] ^= 1;
    data_dir(&[("journal/0", &bytes), ("signatures/0", &signatures(made))])
}

#[test]
fn a_flipped_bit_is_never_a_certificate() {
    let made = made(3);
    let dir = flipped(&made, 2);
    let found = log::certificates(&dir.path().join("log")).unwrap();
    let indexes: Vec<_> = found.iter().map(|found| found.index).collect();
    assert_eq!(indexes, [0, 1], "at the end it looks like a torn write");
    for place in [0, 1] {
        let dir = flipped(&made, place);
        let error = log::certificates(&dir.path().join("log")).unwrap_err();
        let told = error.to_string();
        assert!(told.contains(&format!("entry {place} ")), "{told}");
    }
}

#[test]
fn a_stray_file_is_no_segment() {
    let dir = data_dir(&[("journal/stray", &journal(&made(1)))]);
    let error = log::certificates(&dir.path().join("log")).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
}

#[test]
fn what_our_reader_refuses_is_kept() {
    let mut made = made(2);
    exchange(&mut made[1], b"750101000000Z", b"7501010000000");
    let dir = data_dir(&[
        ("journal/0", &journal(&made)),
        ("signatures/0", &signatures(&made)),
    ]);
    let found = log::certificates(&dir.path().join("log")).unwrap();
    let is_read = found
        .iter()
        .map(|found| X509Certificate::from_der(&found.der).is_ok());
    assert_eq!(is_read.collect::<Vec<_>>(), [true, false]);
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(keep_in(folder.path(), dir.path()).unwrap(), 2);
    assert_eq!(kept(folder.path()), 2);
}

#[test]
fn no_serial_says_where_it_is() {
    let mut made = made(2);
    exchange(&mut made[1], &[0, 1, 9, 9, 9], &[7, 7, 9, 9, 9]);
    let dir = data_dir(&[
        ("journal/0", &journal(&made)),
        ("signatures/0", &signatures(&made)),
    ]);
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(keep_in(folder.path(), dir.path()).unwrap(), 2);
}

#[test]
fn bundles_say_indexes_by_their_names() {
    let (made, log) = (made(3), Path::new("log"));
    let dir = data_dir(&[
        ("tile/entries/x001/024", &bundle(&made[..2])),
        ("signatures/4", &signatures(&made[..2])),
        ("tile/entries/001.p/1", &bundle(&made[2..])),
        (
            "signatures/0",
            &[vec![0; 256 * 80], signatures(&made[2..])].concat(),
        ),
    ]);
    let found = log::certificates(&dir.path().join(log)).unwrap();
    let indexes: Vec<_> = found.iter().map(|found| found.index).collect();
    assert_eq!(indexes, [256, 262_144, 262_145]);
    assert_eq!(found[2].der, made[1].der);
    let stray = dir.path().join("log/tile/entries/stray");
    std::fs::write(stray, bundle(&made)).unwrap();
    let error = log::certificates(&dir.path().join(log)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
}

#[test]
fn a_whole_entry_must_decode() {
    for broken in [&[0xff; 9][..], &Entry::default().encode_to_vec()] {
        let mut made = made(2);
        made[0].entry = broken.to_vec();
        for (name, bytes) in [
            ("journal/0", journal(&made)),
            ("tile/entries/000.p/2", bundle(&made)),
        ] {
            let dir = data_dir(&[(name, &bytes), ("signatures/0", &signatures(&made))]);
            let error = log::certificates(&dir.path().join("log")).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            assert!(error.to_string().contains("entry 0 does not decode"));
        }
    }
}

#[test]
fn logs_of_one_test_share_no_name() {
    let folder = tempfile::tempdir().unwrap();
    for made in [made(2), made(2)] {
        let dir = data_dir(&[
            ("journal/0", &journal(&made)),
            ("signatures/0", &signatures(&made)),
        ]);
        for _ in 0..2 {
            assert_eq!(keep_in(folder.path(), dir.path()).unwrap(), 2);
        }
    }
    assert_eq!(kept(folder.path()), 4);
}

#[test]
fn a_folder_without_a_log_keeps_nothing() {
    let (dir, folder) = (data_dir(&[]), tempfile::tempdir().unwrap());
    assert_eq!(keep_in(&folder.path().join("test"), dir.path()).unwrap(), 0);
    assert_eq!(kept(folder.path()), 0, "not even a folder");
}
