//! The runs of the tests, and of `make simulate`. Each is this program again, in a process of its own whose
//! first thread is the simulation: no test harness fits around that, so this one speaks as libtest does.

#![allow(clippy::print_stdout, reason = "a test harness tells how tests end")]

use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use countersign_simulation::{Defect, machine, mutants, run, runs};
use tokio::runtime::Builder;

/// Seeds that every test run takes.
const SEEDS: u64 = 300;
/// Seeds that are run twice.
const TWICE: u64 = 3;

/// Seeds within which a planted defect is found.
const SEEDS_OF_A_DEFECT: u64 = 50;

type Test = (&'static str, fn() -> Result<()>);

const TESTS: &[Test] = &[
    ("same_seed_gives_the_same_run", same_seed_gives_the_same_run),
    ("mutants_have_their_places", mutants::have_their_places),
    ("planted_defects_are_found", planted_defects_are_found),
    (
        "invariants_hold_under_every_seed",
        invariants_hold_under_every_seed,
    ),
];

fn same_seed_gives_the_same_run() -> Result<()> {
    for seed in 1..=TWICE {
        let (one, other) = (runs::traced(seed, None)?, runs::traced(seed, None)?);
        ensure!(one == other, "seed {seed} gave two runs");
    }
    let (one, other) = (runs::traced(1, None)?, runs::traced(2, None)?);
    ensure!(one != other, "two seeds gave the same run");
    Ok(())
}

fn invariants_hold_under_every_seed() -> Result<()> {
    let ended = runs::many(1, SEEDS)?;
    ensure!(ended == ExitCode::SUCCESS, "see the lines above");
    Ok(())
}

fn planted_defects_are_found() -> Result<()> {
    for (name, defect) in Defect::ALL {
        let found = (1..=SEEDS_OF_A_DEFECT).find_map(|seed| {
            let traced = runs::traced(seed, Some(*defect));
            traced
                .map(|(trace, is_sound)| (!is_sound).then_some((seed, trace)))
                .transpose()
        });
        let (seed, trace) = found
            .transpose()?
            .with_context(|| format!("{name} was not found"))?;
        let last = trace
            .lines()
            .rfind(|line| line.contains("VIOLATED"))
            .with_context(|| format!("{name} broke the run of seed {seed}"))?;
        println!("{name}: seed {seed}, {last}");
    }
    Ok(())
}

fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let number = |text: &str| {
        text.parse()
            .with_context(|| format!("{text:?} is no number"))
    };
    match arguments.as_slice() {
        [machine::RUN, seed] => simulated(number(seed)?),
        ["--seed", seed] => runs::one(number(seed)?),
        ["--seeds", count] => runs::many(1, number(count)?),
        ["--seeds", count, "--from", first] => runs::many(number(first)?, number(count)?),
        ["--until-violated", count] => {
            let found = runs::until_violated(number(count)?)?;
            found.iter().for_each(|line| println!("{line}"));
            Ok(ExitCode::SUCCESS)
        }
        ["--mutants"] => mutants::look_for_all(env!("CARGO")),
        _ => Ok(tested(&arguments)),
    }
}

fn simulated(seed: u64) -> Result<ExitCode> {
    let mut runtime = Builder::new_current_thread();
    runtime.start_paused(true);
    machine::run(runtime, |steps| run(seed, steps))?
}

/// What cargo and nextest ask of a test program.
fn tested(arguments: &[&str]) -> ExitCode {
    let has = |flag: &str| arguments.contains(&flag);
    let named: Vec<_> = arguments.iter().filter(|it| !it.starts_with('-')).collect();
    let is_wanted = |name: &str| match named.as_slice() {
        [] => true,
        names if has("--exact") => names.contains(&&name),
        names => names.iter().any(|part| name.contains(**part)),
    };
    // There are none that are ignored.
    let tests: Vec<_> = TESTS
        .iter()
        .filter(|(name, _)| !has("--ignored") && is_wanted(name))
        .collect();
    if has("--list") {
        tests.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let mut failed = 0;
    for (name, test) in &tests {
        match test() {
            Ok(()) => println!("test {name} ... ok"),
            Err(error) => {
                println!("test {name} ... FAILED\n{error:#}");
                failed += 1;
            }
        }
    }
    let passed = tests.len() - failed;
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {word}. {passed} passed; {failed} failed; 0 ignored; 0 measured; 0 filtered out"
    );
    match failed {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}
