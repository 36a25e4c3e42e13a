//! Reads the files of an issuance log, and changes nothing: journal and bundles may overlap, their
//! writer may be at work or have been killed, and what was not written whole ends a file.
//!
//! This is no auditor (`countersign audit` is): it finds certificates.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use countersign_proto::log::entry::What;
use countersign_proto::log::{Entry, Issued};
use prost::Message;
use x509_parser::certificate::TbsCertificate;
use x509_parser::prelude::FromDer;

/// A certificate that was signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Certificate {
    /// Its profile in the log; `node` for what a node holds as itself.
    pub(crate) profile: String,
    /// Hex.
    pub(crate) serial: String,
    pub(crate) der: Vec<u8>,
}

/// Header of a record of the journal; the length of its entry comes first.
const RECORD_HEADER_BYTES: usize = 20;
/// A slot of a file of signatures: length, value and checksum.
const SLOT_BYTES: usize = 80;
/// Slots of such a file.
const SLOTS: u64 = 65_536;
/// Where a serial names the index of its entry: behind the log id, 40 bits.
const INDEX_IN_SERIAL: std::ops::Range<usize> = 3..8;
/// ecdsa-with-SHA256 (RFC 5758 section 3.2): every CA key is ECDSA P-256.
const ECDSA_WITH_SHA256: &[u8] = &[0x30, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;

/// Every certificate of a log whose signature was kept. No log: none.
pub(crate) fn certificates(log: &Path) -> io::Result<Vec<Certificate>> {
    let mut found = BTreeMap::new();
    for (folder, parse) in [
        ("journal", record as Parse),
        ("tile/entries", bundled as Parse),
    ] {
        for path in files(&log.join(folder))? {
            // What a checkpoint made superfluous goes while we look.
            let bytes = present(fs::read(path))?.unwrap_or_default();
            for issued in entries(&bytes, parse) {
                if let Some(certificate) = certificate(log, &issued)? {
                    found.insert(certificate.serial.clone(), certificate);
                }
            }
        }
    }
    Ok(found.into_values().collect())
}

/// The entry that bytes begin with, and what follows it.
type Parse = fn(&[u8]) -> Option<(&[u8], &[u8])>;

fn record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (header, rest) = bytes.split_at_checked(RECORD_HEADER_BYTES)?;
    let length = u32::from_be_bytes(*header.first_chunk()?);
    rest.split_at_checked(usize::try_from(length).ok()?)
}

fn bundled(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

/// The certificates among the entries of a file.
fn entries(bytes: &[u8], parse: Parse) -> impl Iterator<Item = Issued> {
    let mut rest = bytes;
    let entries = std::iter::from_fn(move || {
        let (entry, later) = parse(rest)?;
        rest = later;
        Some(entry)
    });
    entries.filter_map(|entry| match Entry::decode(entry).ok()?.what? {
        What::Issued(issued) => Some(issued),
        _ => None,
    })
}

/// The entry with its signature; none where it was never signed.
fn certificate(log: &Path, issued: &Issued) -> io::Result<Option<Certificate>> {
    let Ok((_, tbs)) = TbsCertificate::from_der(&issued.tbs) else {
        return Ok(None);
    };
    let serial = tbs.raw_serial();
    let index = serial.get(INDEX_IN_SERIAL).unwrap_or_default();
    let index = index
        .iter()
        .fold(0, |index, byte| index << 8 | u64::from(*byte));
    let profile = match issued.entitlement.as_str() {
        "node" => "node",
        _ => &issued.profile,
    };
    let signature = signature(log, index)?;
    Ok(signature.map(|signature| Certificate {
        profile: profile.to_owned(),
        serial: hex::encode(serial),
        der: assemble(&issued.tbs, &signature),
    }))
}

/// What is kept beside an entry.
fn signature(log: &Path, index: u64) -> io::Result<Option<Vec<u8>>> {
    let path = log.join("signatures").join((index / SLOTS).to_string());
    let file = present(fs::read(path))?.unwrap_or_default();
    let at = usize::try_from(index % SLOTS).expect("a slot is one of 65,536") * SLOT_BYTES;
    let slot = file.get(at..at + SLOT_BYTES).unwrap_or_default();
    let value = slot
        .split_first()
        .and_then(|(length, rest)| rest.get(..usize::from(*length)));
    Ok(value.filter(|value| !value.is_empty()).map(<[u8]>::to_vec))
}

/// A certificate of its parts (RFC 5280 section 4.1).
fn assemble(tbs: &[u8], signature: &[u8]) -> Vec<u8> {
    let signature = tlv(BIT_STRING, &[&[0], signature].concat());
    tlv(SEQUENCE, &[tbs, ECDSA_WITH_SHA256, &signature].concat())
}

/// One value of DER; nothing here is longer than 64 kB.
fn tlv(tag: u8, contents: &[u8]) -> Vec<u8> {
    let length = u16::try_from(contents.len()).expect("an entry of the log is shorter");
    let [high, low] = length.to_be_bytes();
    let header = match length {
        0..=0x7f => vec![tag, low],
        0x80..=0xff => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    [&header, contents].concat()
}

/// The files in a folder and below it.
fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        let Some(children) = present(fs::read_dir(folder))? else {
            continue;
        };
        for child in children {
            let path = child?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path);
            }
        }
    }
    Ok(found)
}

fn present<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        found => found.map(Some),
    }
}
