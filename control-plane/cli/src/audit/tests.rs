use std::fs;

use clap::Parser;
use countersign_audit::Folder;
use countersign_logs::{LOG_ID, Restore, Scene, at, issued, serial};
use countersign_model::Serial;
use rcgen::KeyPair;

use super::*;

mod proofs;
mod replicas;
mod restores;
mod verdicts;

/// Runs the command line as a user would.
fn run(line: &[&str]) -> Result<Exit, Failure> {
    let cli = crate::Cli::try_parse_from([&["countersign", "--json"], line].concat()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime
        .unwrap()
        .block_on(cli.run(jiff::Timestamp::UNIX_EPOCH))
}
