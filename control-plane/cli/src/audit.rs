//! `countersign audit`: what was issued, judged and proved from files alone by
//! [`countersign_audit`].

mod failure;
mod prove;
mod tail;
mod verify;

use clap::Subcommand;
use countersign_cli::{Exit, Failure};

use crate::output::Output;

/// Where a control plane in the current folder keeps its log.
const DEFAULT_LOG: &str = "./cp/log";

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
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
    pub(crate) async fn run(self, output: Output) -> Result<Exit, Failure> {
        match self {
            Self::Verify(verify) => verify.run(output),
            Self::Prove(prove) => prove.run(output),
            Self::Tail(tail) => tail.run(output).await,
        }
    }
}

#[cfg(test)]
mod tests;
