//! SVIDs a second in batches of 100: with SQLite, with PostgreSQL, and with two control planes on it.

use anyhow::Result;

use super::planes;
use crate::issuance::cost::{BATCH, Batches, Bench, NODES};
use crate::issuance::cpu::{Cpu, of_postgres};
use crate::issuance::plane::Plane;
use crate::issuance::report::{Report, median};

/// Rounds of the comparison; odd, so that the median is a round that was run.
const ROUNDS: usize = 15;
/// Batches of each node in one round.
const BATCHES: usize = 4;

/// What one contestant did in a round.
struct Round {
    issued: Batches,
    /// CPU of PostgreSQL for one SVID, in microseconds.
    database: f64,
}

/// All three in turn; the same nodes ask each of them.
///
/// # Errors
/// A control plane does not start, or refuses.
pub async fn beside_sqlite(report: Report) -> Result<()> {
    let alone = planes::start(&["a"]).await?;
    let both = planes::start(&["a", "b"]).await?;
    let mut contestants = [
        (
            "SQLite",
            Bench::of(vec![Plane::start(None).await?], NODES).await?,
        ),
        ("PostgreSQL", Bench::of(alone, NODES).await?),
        ("two on PostgreSQL", Bench::of(both, NODES).await?),
    ];
    let mut rounds: Vec<Vec<Round>> = Vec::new();
    for (_, bench) in &mut contestants {
        bench.batches(1).await?;
    }
    for _ in 0..ROUNDS {
        let mut round = Vec::new();
        for (_, bench) in &mut contestants {
            round.push(one(bench).await?);
        }
        rounds.push(round);
    }
    report.title("SVIDs in batches of 100 on each of 4 nodes, with them on this machine");
    for (at, (name, _)) in contestants.iter().enumerate() {
        let of =
            |which: fn(&Round) -> f64| median(rounds.iter().map(|it| which(&it[at])).collect());
        report.figure(
            &format!("{name}, by the clock"),
            of(|it| it.issued.rate),
            "/s",
        );
        let cpu = of(|it| it.issued.cpu.as_secs_f64() * 1e6);
        report.figure(&format!("{name}, CPU of control planes for one"), cpu, "µs");
        let database = of(|it| it.database);
        report.figure(
            &format!("{name}, CPU of PostgreSQL for one"),
            database,
            "µs",
        );
    }
    let rate = |round: &Vec<Round>, at: usize| round[at].issued.rate;
    let ratio = |over: usize, under: usize| {
        median(
            rounds
                .iter()
                .map(|it| rate(it, over) / rate(it, under))
                .collect(),
        )
    };
    report.figure("PostgreSQL to SQLite, by the clock", ratio(1, 0), "×");
    report.figure("two on PostgreSQL to one, by the clock", ratio(2, 1), "×");
    Ok(())
}

async fn one(bench: &mut Bench) -> Result<Round> {
    let database = Cpu::of_all(&of_postgres()?)?;
    let issued = bench.batches(BATCHES).await?;
    let many = (NODES * BATCHES * BATCH) as f64;
    Ok(Round {
        issued,
        database: database.since()?.as_secs_f64() * 1e6 / many,
    })
}
