//! `countersign audit prove`: an inclusion proof that is checked without the log (C2SP
//! tlog-proof). Its extra data is the entry, so the proof stands alone beside the log's key.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use countersign_cli::{Exit, Failure};
use countersign_model::Serial;
use countersign_proto::log::entry::What;
use jiff::Timestamp;
use serde::Serialize;
use tlog_tiles::{Checkpoint, Hash, check_record, record_hash};

use super::folder::{Folder, WIDTH, read};
use super::keys::LogKeys;
use super::{DEFAULT_LOG, entry, tail};
use crate::cli::output::Output;

pub(super) const EXAMPLES: &str = "Examples:\n  \
    countersign audit prove --serial 0a1b2c00000000072f0c8e4f1d3a5b69 --out web.tlog-proof\n  \
    countersign audit prove --check web.tlog-proof --key log.vkey --json\n\n\
    Exit 0: proved. Exit 1: the proof does not hold. Exit 3: no such certificate.";

const HEADER: &str = "c2sp.org/tlog-proof@v1";
/// Most bytes of a proof that is read: an entry of 65,535 bytes, 64 hashes and a checkpoint.
const MAX_PROOF_BYTES: u64 = 128 * 1024;
/// Most hashes of a proof: a tree of 2^64 entries.
const MAX_HASHES: usize = 64;

#[derive(Debug, Args)]
pub(in crate::cli) struct Prove {
    /// The serial of the certificate
    #[arg(
        long,
        value_name = "SERIAL",
        required_unless_present = "check",
        conflicts_with = "check"
    )]
    serial: Option<Serial>,
    /// Write the proof here instead of to stdout
    #[arg(long, value_name = "FILE", conflicts_with = "check")]
    out: Option<PathBuf>,
    /// Check this proof; needs no log
    #[arg(long, value_name = "FILE", requires = "key")]
    check: Option<PathBuf>,
    /// The folder of the log
    #[arg(long, value_name = "DIR", default_value = DEFAULT_LOG)]
    log: PathBuf,
    /// The log's verifier key, as text or file [default: the key.vkey of the log]
    #[arg(long, value_name = "VKEY|FILE")]
    key: Option<String>,
}

/// What a proof shows.
#[derive(Debug, Serialize)]
struct Proved {
    origin: String,
    size: u64,
    index: u64,
    kind: &'static str,
    at: Option<Timestamp>,
    certificate: Option<entry::Certified>,
    /// The proof, where it was not written to a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    proof: Option<String>,
}

/// A proof in its parts.
#[derive(Debug, PartialEq)]
pub(super) struct Proof {
    entry: Vec<u8>,
    index: u64,
    hashes: Vec<Hash>,
    /// The signed note.
    checkpoint: String,
}

impl Prove {
    #[allow(clippy::needless_pass_by_value, reason = "the shape of every verb")]
    pub(super) fn run(self, output: Output) -> Result<Exit, Failure> {
        let folder = Folder::new(&self.log);
        let key = LogKeys::open(self.key.as_deref(), &folder)?;
        if let Some(path) = &self.check {
            return check(path, &key, output);
        }
        let serial = self.serial.expect("clap asks for a serial or a proof");
        let proof = prove(&folder, &key, serial)?;
        let mut proved = proof.judge(&key).map_err(unsound)?;
        match &self.out {
            Some(path) => {
                write(path, &proof.to_text())?;
                output.show(&proved, |proved| summary(proved, Some(path)))?;
            }
            None => {
                proved.proof = Some(proof.to_text());
                output.show(&proved, |_| proof.to_text().trim_end().to_owned())?;
            }
        }
        Ok(Exit::Yes)
    }
}

fn prove(folder: &Folder, key: &LogKeys, serial: Serial) -> Result<Proof, Failure> {
    let note = folder.checkpoint()?;
    let checkpoint = key.checkpoint(&note).map_err(unsound)?;
    let (index, size) = (serial.index(), checkpoint.size());
    if index >= size {
        let message =
            format!("the newest checkpoint covers {size} entries; the serial names entry {index}");
        return Err(absent(
            message,
            "wait for the next checkpoint, or name the log with --log",
        ));
    }
    let retained = folder
        .first_retained()
        .map_err(|(path, problem)| unsound(format!("{} {problem}", path.display())))?;
    if index < retained {
        let message = format!("the body of entry {index} was removed; bodies begin at {retained}");
        return Err(absent(
            message,
            "ask for a proof while the entry is retained",
        ));
    }
    let width = u64::from(WIDTH);
    let count = width.min(size - index / width * width);
    let place = usize::try_from(index % width).expect("a bundle has 256 entries");
    let entry = tail::read(folder, index / width, count)?.swap_remove(place);
    if certified_by(&entry).is_none_or(|certified| certified.serial != serial) {
        let message = format!("entry {index} is not the certificate {serial}");
        return Err(absent(
            message,
            "the serial is of another log, or of no log of ours",
        ));
    }
    let hashes = countersign_tlog::inclusion(folder.path(), index, size);
    let hashes = hashes.map_err(|error| unsound(error.to_string()))?;
    Ok(Proof {
        entry,
        index,
        hashes: hashes.into_iter().map(Hash).collect(),
        checkpoint: String::from_utf8_lossy(&note).into_owned(),
    })
}

fn certified_by(bytes: &[u8]) -> Option<entry::Certified> {
    match entry::decode(bytes).ok()?.what? {
        What::Issued(issued) => entry::certified(&issued).ok(),
        _ => None,
    }
}

fn check(path: &Path, key: &LogKeys, output: Output) -> Result<Exit, Failure> {
    let bytes = read(path, MAX_PROOF_BYTES).map_err(|unread| {
        let message = format!("{} {unread}", path.display());
        Failure::new(Exit::Usage, "proof_unreadable", message, "check the path")
    })?;
    let proof = Proof::parse(&bytes).ok_or_else(|| {
        let message = format!("{} is no proof with an entry", path.display());
        Failure::new(
            Exit::Usage,
            "proof_unreadable",
            message,
            "give a .tlog-proof of audit prove",
        )
    })?;
    match proof.judge(key) {
        Ok(proved) => output.show(&proved, |proved| summary(proved, None))?,
        Err(problem) => {
            let remedy = "trust neither the proof nor who gave it";
            return Err(Failure::new(Exit::No, "proof_refused", problem, remedy));
        }
    }
    Ok(Exit::Yes)
}

impl Proof {
    /// Whether the proof holds under the key, and of what.
    fn judge(&self, key: &LogKeys) -> Result<Proved, String> {
        let checkpoint: Checkpoint = key
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
            proof: None,
        })
    }

    pub(super) fn to_text(&self) -> String {
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

    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
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

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(|error| {
        let message = format!("{} cannot be written: {error}", path.display());
        Failure::new(
            Exit::Usage,
            "output_failed",
            message,
            "choose another --out",
        )
    })
}

fn summary(proved: &Proved, out: Option<&Path>) -> String {
    let certificate = proved.certificate.as_ref();
    let of = certificate.map(|found| {
        let id = found.id.as_deref().unwrap_or("a CA");
        format!(" ({} for {id})", found.serial)
    });
    let to = out.map(|path| format!("; the proof is in {}", path.display()));
    format!(
        "proved: entry {} of {}{} is in the log of {} entries{}",
        proved.index,
        proved.origin,
        of.unwrap_or_default(),
        proved.size,
        to.unwrap_or_default()
    )
}

fn absent(message: String, remedy: &str) -> Failure {
    Failure::new(Exit::Denied, "not_in_the_log", message, remedy)
}

fn unsound(message: String) -> Failure {
    let remedy = "run countersign audit verify on this log";
    Failure::new(Exit::No, "log_unsound", message, remedy)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
