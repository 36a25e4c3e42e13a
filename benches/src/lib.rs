//! Side-by-side measurement: what we do against the primitive limit, as ratios.
//!
//! Absolute times of a shared machine are noise. Each round runs every contestant once, right
//! after the other, so that a slow moment hits them all; what is reported is the median over
//! rounds of each one's ratio to the first.

pub mod issuance;
pub mod log;
pub mod machine;
pub mod memory;
pub mod peer;
pub mod programs;
pub mod proxy;
pub mod replicas;
pub mod steps;
pub mod strangers;

use std::hint::black_box;
use std::time::{Duration, Instant};

/// Rounds of one comparison; odd, so that the median is a round that was run.
pub const ROUNDS: usize = 21;
/// How long one contestant runs in one round.
pub const SLICE: Duration = Duration::from_millis(40);

/// One thing that is measured.
pub struct Contestant<'a> {
    name: &'a str,
    run: Box<dyn FnMut() + 'a>,
}

impl<'a> Contestant<'a> {
    /// A contestant whose result is kept from being optimised away.
    pub fn new<T>(name: &'a str, mut run: impl FnMut() -> T + 'a) -> Self {
        Self {
            name,
            run: Box::new(move || {
                black_box(run());
            }),
        }
    }

    /// Mean time of one run over one slice.
    fn slice(&mut self) -> f64 {
        let (begin, mut runs) = (Instant::now(), 0u32);
        while begin.elapsed() < SLICE {
            (self.run)();
            runs += 1;
        }
        begin.elapsed().as_secs_f64() / f64::from(runs)
    }
}

/// Compares contestants with the first one and prints a table.
#[allow(clippy::print_stdout, reason = "a benchmark reports on stdout")]
pub fn compare(title: &str, mut contestants: Vec<Contestant<'_>>) {
    for contestant in &mut contestants {
        contestant.slice();
    }
    let rounds: Vec<Vec<f64>> = (0..ROUNDS)
        .map(|_| contestants.iter_mut().map(Contestant::slice).collect())
        .collect();
    println!("\n{title}");
    for (index, contestant) in contestants.iter().enumerate() {
        let micros = median(rounds.iter().map(|round| round[index] * 1e6));
        let ratio = median(rounds.iter().map(|round| round[index] / round[0]));
        println!("  {:<44} {micros:>10.2} µs  × {ratio:.2}", contestant.name);
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
