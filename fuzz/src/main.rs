//! Runs one target for longer than a smoke test: `cargo run -p countersign-fuzz -- TARGET ROUNDS
//! [SEED]`. A failure prints the seed to begin at to see it again, with one round.

use std::process::ExitCode;

use countersign_fuzz::{TARGETS, smoke};

#[allow(clippy::print_stderr, reason = "a tool for people at a terminal")]
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| arguments.get(at).map(|text| text.parse::<u64>());
    let name = arguments.first().map_or("", String::as_str);
    let target = TARGETS.iter().find(|target| target.name == name);
    let (Some(target), Some(Ok(rounds)), Ok(seed)) = (target, number(1), number(2).transpose())
    else {
        let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
        eprintln!(
            "usage: countersign-fuzz TARGET ROUNDS [SEED]\ntargets: {}",
            names.join(" ")
        );
        return ExitCode::from(2);
    };
    match smoke::run(target, seed.unwrap_or_default(), rounds) {
        Ok(taken) => {
            eprintln!("{name}: {taken} of {rounds} were taken");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("{name}: seed {}\n{}", failure.seed, failure.input);
            ExitCode::FAILURE
        }
    }
}
