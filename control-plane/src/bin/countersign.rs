//! The operator's command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    countersign_control_plane::cli::main()
}
