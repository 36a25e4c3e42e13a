//! `countersign audit prove`: that a certificate is in a log, for somebody who does not have the log.

use std::path::{Path, PathBuf};

use clap::Args;
use countersign_audit::{Folder, LogKeys, Proof, Proved, prove};
use countersign_cli::{Exit, Failure};
use countersign_model::Serial;
use serde::Serialize;

use super::DEFAULT_LOG;
use super::failure::failure;
use crate::destination::{self, Destination};
use crate::output::Output;

pub(super) const EXAMPLES: &str = "Examples:\n  \
    countersign audit prove --serial 0a1b2c00000000072f0c8e4f1d3a5b69 --out web.tlog-proof\n  \
    countersign audit prove 0a1b2c00000000072f0c8e4f1d3a5b69\n  \
    countersign audit prove --check web.tlog-proof --key log.vkey --json\n\n\
    Exit 0: proved. Exit 1: the proof does not hold. Exit 3: no such certificate.";

#[derive(Debug, Args)]
pub(crate) struct Prove {
    /// The serial of the certificate, 32 hex digits
    #[arg(required_unless_present_any = ["named", "check"], conflicts_with_all = ["named", "check"])]
    serial: Option<Serial>,
    /// The same
    #[arg(
        id = "named",
        long = "serial",
        value_name = "SERIAL",
        conflicts_with = "check"
    )]
    named: Option<Serial>,
    /// Write the proof here; without it, or with -, to stdout
    #[arg(long, value_name = "FILE", conflicts_with = "check")]
    out: Option<Destination>,
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

/// What a proof shows, and the proof: it was not written to a file.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    proved: Proved,
    proof: String,
}

impl Prove {
    #[allow(clippy::needless_pass_by_value, reason = "the shape of every verb")]
    pub(super) fn run(self, output: Output) -> Result<Exit, Failure> {
        let folder = Folder::new(&self.log);
        let keys = LogKeys::open(self.key.as_deref(), &folder).map_err(failure)?;
        if let Some(path) = &self.check {
            let proved = Proof::open(path).and_then(|proof| proof.check(&keys));
            output.show(&proved.map_err(failure)?, |proved| summary(proved, None))?;
            return Ok(Exit::Yes);
        }
        let serial = self.serial.or(self.named);
        let serial = serial.expect("clap asks for a serial or a proof");
        let (proof, proved) = prove(&folder, &keys, serial).map_err(failure)?;
        let text = proof.to_text();
        match destination::file(self.out.as_ref()) {
            Some(path) => {
                destination::write(path, &text, "output_failed", "choose another --out")?;
                output.show(&proved, |proved| summary(proved, Some(path)))?;
            }
            None => {
                let proof = text.clone();
                output.show(&Shown { proved, proof }, |_| text.trim_end().to_owned())?;
            }
        }
        Ok(Exit::Yes)
    }
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
