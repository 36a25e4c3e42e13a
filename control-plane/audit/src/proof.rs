//! An inclusion proof that is checked without the log (C2SP tlog-proof). Its extra data is the entry,
//! so the proof stands alone beside the log's key.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_model::Serial;
use countersign_proto::log::entry::What;
use jiff::Timestamp;
use serde::Serialize;
use tlog_tiles::{Checkpoint, Hash, check_record, record_hash};

use crate::entry::{self, Certified};
use crate::error::AuditError;
use crate::folder::{Folder, WIDTH, read};
use crate::keys::LogKeys;
use crate::{published, tree};

const HEADER: &str = "c2sp.org/tlog-proof@v1";
/// Most bytes of a proof that is read: an entry of 65,535 bytes, 64 hashes and a checkpoint.
const MAX_PROOF_BYTES: u64 = 128 * 1024;
/// Most hashes of a proof: a tree of 2^64 entries.
const MAX_HASHES: usize = 64;

/// What a proof shows.
#[derive(Debug, Serialize)]
pub struct Proved {
    /// The name of the log.
    pub origin: String,
    /// How many entries its checkpoint covers.
    pub size: u64,
    /// The place of the entry.
    pub index: u64,
    /// The stable name of its kind.
    pub kind: &'static str,
    /// When the control plane made it.
    pub at: Option<Timestamp>,
    /// The certificate that it is about.
    pub certificate: Option<Certified>,
}

/// A proof in its parts, not yet judged.
#[derive(Debug, PartialEq)]
pub struct Proof {
    entry: Vec<u8>,
    index: u64,
    hashes: Vec<Hash>,
    /// The signed note.
    checkpoint: String,
}

/// Proves that a certificate is in a log, and says what the proof shows.
///
/// # Errors
/// There is no such certificate among the retained entries that the newest checkpoint covers, or the
/// log is not what that checkpoint signs.
pub fn prove(
    folder: &Folder,
    keys: &LogKeys,
    serial: Serial,
) -> Result<(Proof, Proved), AuditError> {
    let proof = make(folder, keys, serial)?;
    let proved = proof.judge(keys).map_err(AuditError::Unsound)?;
    Ok((proof, proved))
}

/// Most entries of a log: a serial has 40 bits for the place of its certificate.
const MAX_SIZE: u64 = 1 << 40;

/// Before a tree of so many entries is walked.
fn check_size(size: u64) -> Result<(), AuditError> {
    if size <= MAX_SIZE {
        return Ok(());
    }
    let unsound = format!("the checkpoint says that there are {size} entries");
    Err(AuditError::Unsound(unsound))
}

fn make(folder: &Folder, keys: &LogKeys, serial: Serial) -> Result<Proof, AuditError> {
    let note = folder.checkpoint()?;
    let checkpoint = keys.checkpoint(&note).map_err(AuditError::Unsound)?;
    let (index, size) = (serial.index(), checkpoint.size());
    check_size(size)?;
    if index >= size {
        return Err(AuditError::NotCovered { size, index });
    }
    let retained = published::first_retained(folder)?;
    if index < retained {
        return Err(AuditError::Removed { index, retained });
    }
    let width = u64::from(WIDTH);
    let count = width.min(size - index / width * width);
    let place = usize::try_from(index % width).expect("a bundle has 256 entries");
    let entry = published::bodies(folder, index / width, count)?.swap_remove(place);
    if certified_by(&entry).is_none_or(|certified| certified.serial != serial) {
        return Err(AuditError::NotThatCertificate { index, serial });
    }
    let hashes = tree::inclusion(folder, &checkpoint, index).map_err(AuditError::Unsound)?;
    Ok(Proof {
        entry,
        index,
        hashes,
        checkpoint: String::from_utf8_lossy(&note).into_owned(),
    })
}

fn certified_by(bytes: &[u8]) -> Option<Certified> {
    match entry::decode(bytes).ok()?.what? {
        What::Issued(issued) => entry::certified(&issued).ok(),
        _ => None,
    }
}

impl Proof {
    /// Reads a proof from a file.
    ///
    /// # Errors
    /// The file cannot be read, or is none.
    pub fn open(path: &Path) -> Result<Self, AuditError> {
        let bytes = read(path, MAX_PROOF_BYTES).map_err(|unread| AuditError::ProofUnread {
            path: path.to_owned(),
            unread,
        })?;
        Self::parse(&bytes).ok_or_else(|| AuditError::NotAProof {
            path: path.to_owned(),
        })
    }

    /// Whether the proof holds under the keys, and what it shows.
    ///
    /// # Errors
    /// It does not hold.
    pub fn check(&self, keys: &LogKeys) -> Result<Proved, AuditError> {
        self.judge(keys).map_err(AuditError::ProofRefused)
    }

    #[cfg(test)]
    pub(crate) fn hashes(&self) -> impl Iterator<Item = Hash> {
        self.hashes.iter().copied()
    }

    fn judge(&self, keys: &LogKeys) -> Result<Proved, String> {
        let checkpoint: Checkpoint = keys
            .checkpoint(self.checkpoint.as_bytes())
            .map_err(|problem| format!("the checkpoint of the proof {problem}"))?;
        let (size, root) = (checkpoint.size(), *checkpoint.hash());
        check_record(
            &self.hashes,
            size,
            root,
            self.index,
            record_hash(&self.entry),
        )
        .map_err(|error| format!("the entry is not in the tree of the checkpoint: {error}"))?;
        let entry = entry::decode(&self.entry)?;
        let certificate = certified_by(&self.entry);
        if certificate
            .as_ref()
            .is_some_and(|found| found.serial.index() != self.index)
        {
            return Err("the certificate names another entry than it is".to_owned());
        }
        Ok(Proved {
            origin: checkpoint.origin().to_owned(),
            size,
            index: self.index,
            kind: entry::kind(&entry),
            at: entry::made_at(&entry),
            certificate,
        })
    }

    /// The proof as text, in the only way in which it is written.
    pub fn to_text(&self) -> String {
        let extra = STANDARD.encode(&self.entry);
        let mut text = format!("{HEADER}\nextra {extra}\nindex {}\n", self.index);
        for hash in &self.hashes {
            text.push_str(&STANDARD.encode(hash.0));
            text.push('\n');
        }
        text.push('\n');
        text.push_str(&self.checkpoint);
        text
    }

    /// Reads what [`to_text`](Self::to_text) writes, and nothing else.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let text = str::from_utf8(bytes).ok()?;
        let (proof, checkpoint) = text.split_once("\n\n")?;
        let mut lines = proof.split('\n');
        lines.next().filter(|header| *header == HEADER)?;
        let entry = STANDARD
            .decode(lines.next()?.strip_prefix("extra ")?)
            .ok()?;
        let number = lines.next()?.strip_prefix("index ")?;
        let index: u64 = number.parse().ok()?;
        let hashes: Vec<Hash> = lines
            .take(MAX_HASHES + 1)
            .map(|line| Some(Hash(STANDARD.decode(line).ok()?.try_into().ok()?)))
            .collect::<Option<_>>()?;
        let written_so = number == index.to_string() && hashes.len() <= MAX_HASHES;
        written_so.then(|| Self {
            entry,
            index,
            hashes,
            checkpoint: checkpoint.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn size_that_no_tree_has_is_refused() {
        check_size(MAX_SIZE).unwrap();
        for size in [MAX_SIZE + 1, 1 << 63, u64::MAX] {
            check_size(size).unwrap_err();
        }
    }

    proptest! {
        #[test]
        fn proof_survives_its_text(
            entry in proptest::collection::vec(any::<u8>(), 0..80),
            index: u64,
            hashes in proptest::collection::vec(any::<[u8; 32]>(), 0..20)
        ) {
            let proof = Proof {
                entry,
                index,
                hashes: hashes.into_iter().map(Hash).collect(),
                checkpoint: "origin\n1\nroot\n\n\u{2014} origin sig\n".to_owned(),
            };
            prop_assert_eq!(Proof::parse(proof.to_text().as_bytes()), Some(proof));
        }

        #[test]
        fn any_text_is_a_proof_or_none(text in "\\PC{0,60}(\n\\PC{0,20}){0,6}") {
            let text = format!("{HEADER}\nextra {text}");
            if let Some(proof) = Proof::parse(text.as_bytes()) {
                prop_assert_eq!(proof.to_text(), text);
            }
        }
    }
}
