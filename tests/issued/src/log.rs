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

/// A certificate that was signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Certificate {
    /// Its profile in the log; `node` for what a node holds as itself.
    pub(crate) profile: String,
    /// Of its entry.
    pub(crate) index: u64,
    pub(crate) der: Vec<u8>,
}

/// Where the bundles are.
const BUNDLES: &str = "tile/entries";
/// Entries of a full bundle.
const BUNDLE_ENTRIES: u64 = 256;
/// Header of a record of the journal: the length of its entry comes first, then its index.
const RECORD_HEADER_BYTES: usize = 20;
/// A slot of a file of signatures: length, value and checksum.
const SLOT_BYTES: usize = 80;
/// Slots of such a file.
const SLOTS: u64 = 65_536;
/// ecdsa-with-SHA256 (RFC 5758 section 3.2): every CA key is ECDSA P-256.
const ECDSA_WITH_SHA256: &[u8] = &[0x30, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;

/// Every certificate of a log whose signature was kept, in the order of their indexes. No log: none.
///
/// # Errors
/// A file cannot be read, or holds an entry that is whole and does not decode.
pub(crate) fn certificates(log: &Path) -> io::Result<Vec<Certificate>> {
    let mut found = BTreeMap::new();
    for (folder, entries) in [
        ("journal", journaled as Entries),
        (BUNDLES, bundled as Entries),
    ] {
        for path in files(&log.join(folder))? {
            // What a checkpoint made superfluous goes while we look.
            let bytes = present(fs::read(&path))?.unwrap_or_default();
            for (index, entry) in entries(log, &path, &bytes)? {
                let issued = issued(entry).map_err(|cause| damaged(&path, index, &cause))?;
                if let Some(issued) = issued {
                    found.extend(certificate(log, index, issued)?.map(|it| (index, it)));
                }
            }
        }
    }
    Ok(found.into_values().collect())
}

/// The whole entries of a file of the log, each with its index.
type Entries = for<'a> fn(&Path, &Path, &'a [u8]) -> io::Result<Vec<(u64, &'a [u8])>>;

/// A record says its index itself.
fn journaled<'a>(_: &Path, _: &Path, bytes: &'a [u8]) -> io::Result<Vec<(u64, &'a [u8])>> {
    let mut rest = bytes;
    let records = std::iter::from_fn(|| {
        let (index, entry, later) = record(rest)?;
        rest = later;
        Some((index, entry))
    });
    Ok(records.collect())
}

/// In a bundle it is the bundle's number that says it, and the place in there.
fn bundled<'a>(log: &Path, path: &Path, bytes: &'a [u8]) -> io::Result<Vec<(u64, &'a [u8])>> {
    let name = path.strip_prefix(log.join(BUNDLES)).ok();
    let number = name.and_then(bundle_number).ok_or_else(|| {
        let what = format!("{} is no bundle by its name", path.display());
        io::Error::new(io::ErrorKind::InvalidData, what)
    })?;
    let mut rest = bytes;
    let entries = std::iter::from_fn(|| {
        let (length, later) = rest.split_first_chunk()?;
        let (entry, later) = later.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        rest = later;
        Some(entry)
    });
    Ok((number * BUNDLE_ENTRIES..).zip(entries).collect())
}

/// The index and the entry of the record that bytes begin with, and what follows it.
fn record(bytes: &[u8]) -> Option<(u64, &[u8], &[u8])> {
    let (header, rest) = bytes.split_first_chunk::<RECORD_HEADER_BYTES>()?;
    let (length, header) = header.split_first_chunk()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (entry, later) = rest.split_at_checked(length)?;
    Some((u64::from_be_bytes(*header.first_chunk()?), entry, later))
}

/// The number of `x001/x234/067`, or of `x001/x234/067.p/8` that is not full yet (C2SP tlog-tiles).
fn bundle_number(name: &Path) -> Option<u64> {
    let name = name.to_str()?;
    let digits = name.split_once(".p/").map_or(name, |(digits, _)| digits);
    digits.split('/').try_fold(0_u64, |number, digits| {
        let digits: u64 = digits.strip_prefix('x').unwrap_or(digits).parse().ok()?;
        number.checked_mul(1_000)?.checked_add(digits)
    })
}

/// The certificate of an entry; none in one of another kind. `Err` is why it does not decode.
fn issued(entry: &[u8]) -> Result<Option<Issued>, String> {
    let entry = Entry::decode(entry).map_err(|error| error.to_string())?;
    match entry.what.ok_or("it is of no kind")? {
        What::Issued(issued) => Ok(Some(issued)),
        _ => Ok(None),
    }
}

fn damaged(path: &Path, index: u64, cause: &str) -> io::Error {
    let what = format!("{}: entry {index} does not decode: {cause}", path.display());
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// The entry with its signature; none where it was never signed. Nothing of the certificate is read:
/// one that our own reader refuses is one that the judge must see.
fn certificate(log: &Path, index: u64, issued: Issued) -> io::Result<Option<Certificate>> {
    let signature = signature(log, index)?;
    Ok(signature.map(|signature| Certificate {
        profile: match issued.entitlement.as_str() {
            "node" => "node".to_owned(),
            _ => issued.profile,
        },
        index,
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
