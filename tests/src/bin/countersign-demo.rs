//! `make demo`: a mesh from nothing, and certificates that rotate under load.

use std::process::ExitCode;

use clap::Parser;
use countersign_tests::demo;

#[tokio::main]
async fn main() -> ExitCode {
    demo::main(&demo::Arguments::parse()).await
}
