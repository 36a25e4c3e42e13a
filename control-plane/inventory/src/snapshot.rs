//! The inventory as a file, so that a start need not read a log of months. It is a cache: one that
//! is missing, damaged or of another log is read from the log again.
//!
//! Shape: a line that names it, a head, the rows and the void certificates, each a protobuf message
//! after its length, then SHA-256 over all of that. A row at a time is made and read: the file of a large fleet would
//! otherwise be several times in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use countersign_issue::profile::Profile;
use countersign_model::{Coordinate, Seq, Serial};
use countersign_registry::Account;
use jiff::Timestamp;
use prost::Message;
use sha2::{Digest, Sha256};

use super::{Certificate, Inventory, Issued, Lineage, LineageId};

/// The line that a file begins with. Another shape takes another line.
const SHAPE: &[u8] = b"countersign inventory 7\n";
const DIGEST_BYTES: usize = 32;

/// An inventory and how much of which log it tells of.
#[derive(Debug, PartialEq)]
pub struct Coverage {
    /// The id of the log.
    pub log_id: u32,
    /// Entries below this index are in the inventory.
    pub settled: u64,
    /// Every certificate that was valid has at least this index.
    pub oldest_live: u64,
    /// So many entries of the log were accounted for: a state that knows of fewer is older.
    pub accounted: u64,
    /// Void certificates below both indexes: a start does not come across them.
    pub voids: Vec<Void>,
    /// Of the logs of other control planes.
    pub others: OtherLogs,
}

/// How much of the logs of other control planes an inventory tells of. They are read in the order of commits.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OtherLogs {
    /// The newest of their entries that was taken: those of commits up to its own are in the inventory. `None` where
    /// there was none.
    pub newest: Option<TakenEntry>,
    /// By log, the lowest index of a certificate that was valid.
    pub oldest_live: BTreeMap<u32, u64>,
}

/// An entry that a database has, and everything that was committed before it, unless it was put back since: then another
/// entry may be in its place, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TakenEntry {
    /// The commit that made it.
    pub seq: Seq,
    /// Which it is.
    pub entry: Coordinate,
    /// SHA-256 over its bytes.
    pub sha256: [u8; 32],
}

impl TakenEntry {
    /// Of the bytes that are there.
    pub fn new(seq: Seq, entry: Coordinate, bytes: &[u8]) -> Self {
        let sha256 = Sha256::digest(bytes).into();
        Self { seq, entry, sha256 }
    }
}

/// A certificate that nobody was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Void {
    /// Its entry.
    pub entry: Coordinate,
    /// Its NotAfter.
    pub not_after: Timestamp,
    /// SHA-256 of its SubjectPublicKeyInfo.
    pub spki_sha256: [u8; 32],
}

#[derive(Message)]
struct Head {
    #[prost(uint32, tag = "1")]
    log_id: u32,
    #[prost(uint64, tag = "2")]
    settled: u64,
    #[prost(uint64, tag = "3")]
    oldest_live: u64,
    #[prost(uint64, tag = "8")]
    svids: u64,
    #[prost(uint64, tag = "9")]
    servers: u64,
    #[prost(uint64, tag = "10")]
    cas: u64,
    #[prost(uint64, tag = "5")]
    lineages: u64,
    #[prost(uint64, tag = "6")]
    accounted: u64,
    #[prost(uint64, tag = "7")]
    voids: u64,
    #[prost(message, optional, tag = "13")]
    newest: Option<TakenRow>,
    #[prost(btree_map = "uint32, uint64", tag = "12")]
    others_oldest_live: BTreeMap<u32, u64>,
}

#[derive(Message)]
struct TakenRow {
    #[prost(uint64, tag = "1")]
    seq: u64,
    #[prost(uint32, tag = "2")]
    log_id: u32,
    #[prost(uint64, tag = "3")]
    index: u64,
    #[prost(bytes = "vec", tag = "4")]
    sha256: Vec<u8>,
}

#[derive(Message)]
struct VoidRow {
    #[prost(uint64, tag = "1")]
    index: u64,
    #[prost(int64, tag = "2")]
    not_after: i64,
    #[prost(bytes = "vec", tag = "3")]
    spki_sha256: Vec<u8>,
    #[prost(uint32, tag = "4")]
    log_id: u32,
}

#[derive(Message)]
struct Row {
    #[prost(string, tag = "1")]
    spiffe_id: String,
    #[prost(string, tag = "2")]
    node: String,
    #[prost(string, tag = "3")]
    entitlement: String,
    #[prost(string, tag = "4")]
    profile: String,
    #[prost(string, tag = "5")]
    owner: String,
    #[prost(string, tag = "6")]
    criticality: String,
    #[prost(int64, tag = "7")]
    since: i64,
    #[prost(uint64, tag = "8")]
    certificates: u64,
    #[prost(bytes = "vec", tag = "9")]
    serial: Vec<u8>,
    #[prost(bytes = "vec", optional, tag = "10")]
    sha256: Option<Vec<u8>>,
    #[prost(bytes = "vec", tag = "11")]
    spki_sha256: Vec<u8>,
    #[prost(string, tag = "12")]
    issuer: String,
    #[prost(int64, tag = "13")]
    issued_at: i64,
    #[prost(int64, tag = "14")]
    not_after: i64,
    #[prost(btree_map = "string, string", tag = "15")]
    labels: BTreeMap<String, String>,
    #[prost(uint64, tag = "16")]
    order: u64,
}

impl Inventory {
    /// The bytes of the file.
    pub fn to_snapshot(&self, coverage: &Coverage) -> Vec<u8> {
        let head = Head {
            log_id: coverage.log_id,
            settled: coverage.settled,
            oldest_live: coverage.oldest_live,
            accounted: coverage.accounted,
            svids: self.issued.svids,
            servers: self.issued.servers,
            cas: self.issued.cas,
            lineages: self.lineages.len() as u64,
            voids: coverage.voids.len() as u64,
            newest: coverage.others.newest.as_ref().map(TakenRow::from),
            others_oldest_live: coverage.others.oldest_live.clone(),
        };
        let mut bytes = SHAPE.to_vec();
        bytes.extend(head.encode_length_delimited_to_vec());
        for lineage in self.lineages.values() {
            bytes.extend(Row::from(&**lineage).encode_length_delimited_to_vec());
        }
        for void in &coverage.voids {
            bytes.extend(VoidRow::from(void).encode_length_delimited_to_vec());
        }
        let digest = Sha256::digest(&bytes);
        bytes.extend(digest);
        bytes
    }

    /// What a file holds; `None` where it is not what was written.
    pub fn from_snapshot(bytes: &[u8]) -> Option<(Self, Coverage)> {
        let (message, digest) = bytes.split_at_checked(bytes.len().checked_sub(DIGEST_BYTES)?)?;
        if Sha256::digest(message)[..] != *digest {
            return None;
        }
        let mut rest = message.strip_prefix(SHAPE)?;
        let head = Head::decode_length_delimited(&mut rest).ok()?;
        let mut coverage = Coverage {
            log_id: head.log_id,
            settled: head.settled,
            oldest_live: head.oldest_live,
            accounted: head.accounted,
            voids: Vec::new(),
            others: OtherLogs {
                newest: match head.newest {
                    Some(row) => Some(row.read()?),
                    None => None,
                },
                oldest_live: head.others_oldest_live,
            },
        };
        let mut inventory = Self {
            issued: Issued {
                svids: head.svids,
                servers: head.servers,
                cas: head.cas,
            },
            ..Self::default()
        };
        for _ in 0..head.lineages {
            let row = Row::decode_length_delimited(&mut rest).ok()?;
            let (id, lineage) = inventory.read(row)?;
            inventory.first_end.note(lineage.newest.not_after);
            inventory.lineages.insert(id, Box::new(lineage));
        }
        for _ in 0..head.voids {
            let row = VoidRow::decode_length_delimited(&mut rest).ok()?;
            coverage.voids.push(row.read()?);
        }
        rest.is_empty().then_some((inventory, coverage))
    }

    fn read(&mut self, row: Row) -> Option<(LineageId, Lineage)> {
        let account = Account {
            owner: row.owner,
            criticality: row.criticality.parse().ok()?,
            labels: row.labels,
        };
        let lineage = Lineage {
            spiffe_id: row.spiffe_id.into(),
            node: self.names.text(&row.node),
            entitlement: row.entitlement.into(),
            profile: Profile::named(&row.profile)?,
            account: self.names.account(&account),
            since: nanoseconds(row.since)?,
            certificates: row.certificates,
            newest: Certificate {
                serial: Serial::from_bytes(&row.serial).ok()?,
                sha256: row.sha256.map(TryInto::try_into).transpose().ok()?,
                spki_sha256: row.spki_sha256.try_into().ok()?,
                issuer: self.names.text(&row.issuer),
                issued_at: nanoseconds(row.issued_at)?,
                not_after: Timestamp::from_second(row.not_after).ok()?,
                order: row.order,
            },
        };
        Some((lineage.id(), lineage))
    }
}

impl From<&TakenEntry> for TakenRow {
    fn from(taken: &TakenEntry) -> Self {
        Self {
            seq: taken.seq.0,
            log_id: taken.entry.log_id(),
            index: taken.entry.index(),
            sha256: taken.sha256.to_vec(),
        }
    }
}

impl TakenRow {
    fn read(self) -> Option<TakenEntry> {
        Some(TakenEntry {
            seq: Seq(self.seq),
            entry: Coordinate::new(self.log_id, self.index).ok()?,
            sha256: self.sha256.try_into().ok()?,
        })
    }
}

impl From<&Void> for VoidRow {
    fn from(void: &Void) -> Self {
        Self {
            index: void.entry.index(),
            log_id: void.entry.log_id(),
            not_after: void.not_after.as_second(),
            spki_sha256: void.spki_sha256.to_vec(),
        }
    }
}

impl VoidRow {
    fn read(self) -> Option<Void> {
        Some(Void {
            entry: Coordinate::new(self.log_id, self.index).ok()?,
            not_after: Timestamp::from_second(self.not_after).ok()?,
            spki_sha256: self.spki_sha256.try_into().ok()?,
        })
    }
}

impl From<&Lineage> for Row {
    fn from(it: &Lineage) -> Self {
        let text = |text: &Arc<str>| text.to_string();
        Self {
            spiffe_id: it.spiffe_id.to_string(),
            node: text(&it.node),
            entitlement: it.entitlement.to_string(),
            profile: it.profile.as_str().to_owned(),
            owner: it.account.owner.clone(),
            criticality: it.account.criticality.as_str().to_owned(),
            since: from_nanoseconds(it.since),
            certificates: it.certificates,
            serial: it.newest.serial.as_bytes().to_vec(),
            sha256: it.newest.sha256.map(Vec::from),
            spki_sha256: it.newest.spki_sha256.to_vec(),
            issuer: text(&it.newest.issuer),
            issued_at: from_nanoseconds(it.newest.issued_at),
            not_after: it.newest.not_after.as_second(),
            labels: it.account.labels.clone(),
            order: it.newest.order,
        }
    }
}

fn nanoseconds(value: i64) -> Option<Timestamp> {
    Timestamp::from_nanosecond(value.into()).ok()
}

/// Beyond the year 2262 a time is cut: nothing is issued then.
fn from_nanoseconds(time: Timestamp) -> i64 {
    i64::try_from(time.as_nanosecond()).unwrap_or(i64::MAX)
}
