//! Reads the files of an issuance log, and changes nothing: journal and bundles may overlap, their
//! writer may be at work or have been killed, and what was not written whole ends a file: a record
//! that is cut off, or whose checksum is another. Where a later batch follows it that is damage.
//!
//! This is no auditor (`countersign audit` is): it finds certificates.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use countersign_proto::log::entry::What;
use countersign_proto::log::{Entry, Issued};
use crc32fast::Hasher;
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
/// What the checksum of a record of the journal covers before its entry: the length of the entry,
/// its index and its place in a batch.
const RECORD_CHECKED_BYTES: usize = 16;
/// Most bytes of an entry.
const MAX_ENTRY_BYTES: usize = 65_535;
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
fn journaled<'a>(_: &Path, path: &Path, bytes: &'a [u8]) -> io::Result<Vec<(u64, &'a [u8])>> {
    let name = path.file_name().and_then(OsStr::to_str);
    let first = name.and_then(|name| name.parse().ok());
    let mut next: u64 = first.ok_or_else(|| misnamed(path, "segment"))?;
    let (mut records, mut rest) = (Vec::new(), bytes);
    while let Some((record, later)) = record(rest) {
        records.push((record.index, record.entry));
        (next, rest) = (record.index.saturating_add(1), later);
    }
    if a_later_batch_follows(rest, next) {
        return Err(damaged(path, next, "it is not what was written"));
    }
    Ok(records)
}

/// Whether a sound record follows that was written after the one of this index was durable.
fn a_later_batch_follows(bytes: &[u8], index: u64) -> bool {
    let is_later = |record: Record<'_>| {
        let batch = record.index.checked_sub(u64::from(record.place));
        batch.is_some_and(|batch| batch > index)
    };
    (1..bytes.len()).any(|at| record(&bytes[at..]).is_some_and(|(found, _)| is_later(found)))
}

/// In a bundle it is the bundle's number that says it, and the place in there.
fn bundled<'a>(log: &Path, path: &Path, bytes: &'a [u8]) -> io::Result<Vec<(u64, &'a [u8])>> {
    let name = path.strip_prefix(log.join(BUNDLES)).ok();
    let number = name.and_then(bundle_number);
    let number = number.ok_or_else(|| misnamed(path, "bundle"))?;
    let mut rest = bytes;
    let entries = std::iter::from_fn(|| {
        let (length, later) = rest.split_first_chunk()?;
        let (entry, later) = later.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        rest = later;
        Some(entry)
    });
    Ok((number * BUNDLE_ENTRIES..).zip(entries).collect())
}

/// A record of the journal.
struct Record<'a> {
    index: u64,
    /// In the batch that it was written with.
    place: u32,
    entry: &'a [u8],
}

/// The record that bytes begin with, and what follows it; none where its checksum is another.
fn record(bytes: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let (checked, rest) = bytes.split_first_chunk::<RECORD_CHECKED_BYTES>()?;
    let (checksum, rest) = rest.split_first_chunk()?;
    let (length, numbers) = checked.split_first_chunk()?;
    let (index, place) = numbers.split_first_chunk()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    if length > MAX_ENTRY_BYTES {
        return None;
    }
    let (entry, later) = rest.split_at_checked(length)?;
    let record = Record {
        index: u64::from_be_bytes(*index),
        place: u32::from_be_bytes(*place.first_chunk()?),
        entry,
    };
    let mut hasher = Hasher::new();
    hasher.update(checked);
    hasher.update(entry);
    (hasher.finalize().to_be_bytes() == *checksum).then_some((record, later))
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

fn misnamed(path: &Path, kind: &str) -> io::Error {
    let what = format!("{} is no {kind} by its name", path.display());
    io::Error::new(io::ErrorKind::InvalidData, what)
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
