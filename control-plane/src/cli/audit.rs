//! `countersign audit`: what was issued, judged and proved from files alone.
//!
//! Everything here reads the published part of an issuance log: checkpoints, tiles and entry
//! bundles (C2SP tlog-tiles). Trees, tiles and notes are checked with the crates `tlog_tiles` and
//! `signed_note`; the code that wrote them is not used to judge it.

mod bundle;
mod census;
mod entry;
mod flaw;
mod folder;
mod frontier;
mod keys;
mod prove;
mod tail;
mod verify;
mod walk;

use std::path::Path;

use clap::Subcommand;
use countersign_cli::{Exit, Failure};

use super::output::Output;

/// Where a control plane in the current folder keeps its log.
const DEFAULT_LOG: &str = "./cp/log";

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Recompute logs from their entries up to their signed checkpoints
    #[command(after_help = verify::EXAMPLES)]
    Verify(verify::Verify),
    /// Prove that a certificate is in the log, or check such a proof
    #[command(after_help = prove::EXAMPLES)]
    Prove(prove::Prove),
    /// The newest published entries
    #[command(after_help = tail::EXAMPLES)]
    Tail(tail::Tail),
}

impl Verb {
    pub(super) async fn run(self, output: Output) -> Result<Exit, Failure> {
        match self {
            Self::Verify(verify) => verify.run(output),
            Self::Prove(prove) => prove.run(output),
            Self::Tail(tail) => tail.run(output).await,
        }
    }
}

/// Whether the log of a folder is sound; `None` where there is nothing to judge.
pub(crate) fn is_sound(log: &Path) -> Option<bool> {
    let verdict = verify::Verify::of(log).judge(Output::new(true)).ok()?;
    Some(verdict.sound)
}

/// A proof, written again.
pub(crate) fn proof(text: &[u8]) -> Option<String> {
    Some(prove::Proof::parse(text)?.to_text())
}

#[cfg(test)]
mod tests;
