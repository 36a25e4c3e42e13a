//! What an append to the issuance log costs beside its primitive: one write and one fdatasync of
//! the same bytes. Processor time, since the disk of a shared machine is noise.
//!
//! Run: `cargo bench -p countersign-benches --bench tlog`

use std::convert::Infallible;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use countersign_benches::ROUNDS;
use countersign_tlog::{Log, Options};
use futures_util::future::join_all;
use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::Runtime;

/// A to-be-signed certificate, its labels and who holds the key.
const ENTRY_BYTES: usize = 700;
/// Entries of one round.
const ENTRIES: usize = 400;

fn main() {
    let folder = tempfile::tempdir_in(".").expect("the current folder is writable");
    for batch in [1, 100] {
        let mut primitive = Primitive::new(&folder.path().join(format!("bytes-{batch}")), batch);
        let mut log = Appends::new(&folder.path().join(format!("log-{batch}")), batch);
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            let write = cost(|| (0..ENTRIES / batch).for_each(|_| primitive.write()));
            let append = cost(|| (0..ENTRIES / batch).for_each(|_| log.append()));
            log.log
                .publish(Timestamp::UNIX_EPOCH)
                .expect("the disk has room");
            rounds.push([write, append]);
        }
        report(batch, &rounds);
    }
}

/// One write and one fdatasync a batch.
struct Primitive {
    file: File,
    bytes: Vec<u8>,
    offset: u64,
}

impl Primitive {
    fn new(path: &Path, batch: usize) -> Self {
        Self {
            file: File::create(path).expect("the folder is writable"),
            bytes: vec![7; batch * ENTRY_BYTES],
            offset: 0,
        }
    }

    fn write(&mut self) {
        let written = self.file.write_all_at(&self.bytes, self.offset);
        written
            .and_then(|()| self.file.sync_data())
            .expect("the disk has room");
        self.offset += self.bytes.len() as u64;
    }
}

/// A batch of appends that wait together.
struct Appends {
    log: Log,
    runtime: Runtime,
    batch: usize,
}

impl Appends {
    fn new(folder: &Path, batch: usize) -> Self {
        let options = Options {
            dir: folder.to_owned(),
            key: folder.with_extension("key"),
            origin: "example.org/log".to_owned(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        Self {
            log: Log::open(&options).expect("the folder is writable"),
            runtime: runtime.expect("a runtime without drivers needs nothing"),
            batch,
        }
    }

    fn append(&mut self) {
        let make = |_| Ok::<_, Infallible>(vec![7; ENTRY_BYTES]);
        let appends = (0..self.batch).map(|_| self.log.append(make));
        let appended = self.runtime.block_on(join_all(appends));
        assert!(appended.iter().all(Result::is_ok));
    }
}

/// Processor time of this process, and time on the wall.
#[derive(Clone, Copy)]
struct Cost {
    cpu: f64,
    wall: f64,
}

fn cost(run: impl FnOnce()) -> Cost {
    let (cpu, wall) = (cpu_time(), Instant::now());
    run();
    let wall = wall.elapsed();
    let micros = |time: Duration| time.as_secs_f64() * 1e6 / ENTRIES as f64;
    Cost {
        cpu: micros(cpu_time().saturating_sub(cpu)),
        wall: micros(wall),
    }
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).expect("processor time is not negative")
}

#[allow(clippy::print_stdout, reason = "a benchmark reports on stdout")]
fn report(batch: usize, rounds: &[[Cost; 2]]) {
    println!("\none entry of {ENTRY_BYTES} bytes, durable, {batch} at a time");
    for (index, name) in ["one write and one fdatasync", "append to the log"]
        .iter()
        .enumerate()
    {
        let of = |what: fn(Cost) -> f64| median(rounds.iter().map(|round| what(round[index])));
        let ratio = median(rounds.iter().map(|round| round[index].cpu / round[0].cpu));
        let (cpu, wall) = (of(|cost| cost.cpu), of(|cost| cost.wall));
        println!(
            "  {name:<30} {cpu:>8.2} µs of processor  × {ratio:.2}   {wall:>8.2} µs on the wall"
        );
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
