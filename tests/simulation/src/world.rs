//! One run: hosts, an operator who acts, and a seed that disturbs them. What is due next happens next,
//! and after each event the model judges.

mod acts;
mod database;
mod faults;
mod machines;
mod planes;
mod races;
mod replicas;
mod rollback;

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, anyhow};
use countersign_control_plane::clock::Clock;
use fastrand::Rng;
use tokio::time::{Instant, sleep, sleep_until};

use crate::consumer::Consumer;
use crate::control_plane::ControlPlane;
use crate::database::Database;
use crate::defects::Defect;
use crate::disk::Disks;
use crate::machine::Steps;
use crate::model::{Model, View, Violation, judge_logs};
use crate::network::{Conditions, Network};
use crate::node::Node;
use crate::operator::{NotDone, Operator};
use crate::trace::Trace;
use faults::Mend;
use planes::MOST_PLANES;
use rollback::Copy;

/// The model looks at least this often.
const LOOK: Duration = Duration::from_millis(500);
/// How long a run is disturbed.
const DISTURBED: Duration = Duration::from_secs(8 * 60);
/// How long it is left alone at its end.
const CALM: Duration = Duration::from_secs(2 * 60);
/// Nodes of a run, at most.
const FEW: u8 = 5;
/// Nodes of every fiftieth seed, at most. Fifty of them cost as much as ten other seeds.
const FLEET: (u64, u8) = (50, 50);
/// The longest time between two acts.
const LONGEST_PAUSE: f64 = 12.0;
/// How much longer it is in some runs.
const SLOWER: f64 = 4.0;

/// Why a run ends before its end.
#[derive(Debug)]
enum Ended {
    /// An invariant did not hold.
    Violated(Violation),
    /// The run itself does not work.
    Broken(anyhow::Error),
}

impl From<Violation> for Ended {
    fn from(violation: Violation) -> Self {
        Self::Violated(violation)
    }
}

impl<E: Into<anyhow::Error>> From<E> for Ended {
    fn from(error: E) -> Self {
        Self::Broken(error.into())
    }
}

/// Everything of a run.
struct World {
    trace: Trace,
    random: Rng,
    clock: Clock,
    network: Network,
    planes: Vec<ControlPlane>,
    /// What they share, where their state is not in files.
    database: Option<Database>,
    /// How many control planes ever had a name.
    named: u8,
    /// How many tokens two machines had.
    raced: u8,
    /// A copy of the database.
    copy: Option<Copy>,
    nodes: Vec<Node>,
    model: Model,
    disks: Disks,
    /// What ends, and when.
    mends: Vec<(Instant, Mend)>,
    steps: Steps,
    most_nodes: u8,
    /// What is wrong on purpose.
    defect: Option<Defect>,
}

/// One run, from its beginning to its verdict.
///
/// # Errors
/// The simulation itself does not work.
pub async fn run(seed: u64, steps: Steps) -> Result<ExitCode> {
    let trace = Trace::new(Box::new(io::stdout()));
    tracing_subscriber::fmt()
        .with_writer(trace.clone())
        .without_time()
        .with_ansi(false)
        .with_max_level(tracing::Level::INFO)
        .init();
    let mut world = World::new(seed, trace.clone(), steps)?;
    let ended = Box::pin(world.live()).await;
    let code = match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(Ended::Violated(violation)) => {
            trace.line("model", &violation.to_string());
            ExitCode::FAILURE
        }
        Err(Ended::Broken(error)) => return Err(error),
    };
    let (lines, hash) = trace.sum();
    println!("seed {seed}: {lines} lines, {hash}");
    Ok(code)
}

impl World {
    fn new(seed: u64, trace: Trace, steps: Steps) -> Result<Self> {
        let mut random = Rng::with_seed(seed);
        let network = Network::new(random.fork(), Conditions::good());
        Ok(Self {
            trace,
            clock: Clock::wall(),
            planes: Vec::new(),
            database: None,
            named: 0,
            raced: 0,
            copy: None,
            network,
            nodes: Vec::new(),
            model: Model::default(),
            disks: Disks::open()?,
            mends: Vec::new(),
            steps,
            most_nodes: match seed % FLEET.0 {
                0 => FLEET.1,
                _ => FEW,
            },
            defect: Defect::of_run(),
            random,
        })
    }

    async fn live(&mut self) -> Result<(), Ended> {
        let end = Instant::now() + DISTURBED;
        let planes = self.random.u8(1..=MOST_PLANES);
        self.begin_planes(planes).await?;
        self.calm_plane();
        let addresses = (1..=planes).map(|machine| {
            let address = ControlPlane::address_of(machine);
            format!("\"https://{address}\"")
        });
        let addresses = addresses.collect::<Vec<_>>().join(", ");
        for number in 1..=self.random.u8(1..=self.most_nodes) {
            let (network, random) = (self.network.clone(), &mut self.random);
            let node = Node::new(number, network, addresses.clone(), random)?;
            self.nodes.push(node);
            self.admit(usize::from(number) - 1).await?;
            self.register().await?;
        }
        // Much is judged only where nothing was disturbed for a while.
        let pace = if self.random.u8(0..3) == 0 {
            SLOWER
        } else {
            1.0
        };
        let mut act = Instant::now();
        while Instant::now() < end {
            if act <= Instant::now() {
                self.act().await?;
                let pause = LONGEST_PAUSE * pace * self.random.f64();
                act = Instant::now() + Duration::from_secs_f64(pause);
            }
            self.step(act).await?;
        }
        self.end().await
    }

    /// Nothing is disturbed any more; everything is judged.
    async fn end(&mut self) -> Result<(), Ended> {
        self.say("nothing is disturbed from now on");
        self.keep_the_newest();
        for (due, _) in &mut self.mends {
            *due = Instant::now();
        }
        let consumers = self.nodes.iter().flat_map(|node| &node.consumers);
        consumers.for_each(Consumer::calm);
        let end = Instant::now() + CALM;
        while Instant::now() < end {
            self.step(end).await?;
        }
        self.list().await?;
        let now = self.clock.now();
        for node in &self.nodes {
            for consumer in &node.consumers {
                self.model
                    .judge_consumers_end(&node.spiffe_id(), consumer, now)?;
            }
        }
        // The newest entries are in a checkpoint.
        sleep(Duration::from_secs(3)).await;
        let logs = self.logs().await?;
        let entries = judge_logs(&self.model, &logs)??;
        let seen = self.model.seen().count();
        self.say(&format!("{entries} entries, {seen} certificates seen"));
        Ok(())
    }

    /// Waits for what is due next, at the latest for `until`, and judges what there is then.
    async fn step(&mut self, until: Instant) -> Result<(), Ended> {
        let due = self.mends.iter().map(|(due, _)| *due).min();
        let next = due.unwrap_or(until).min(until);
        sleep_until(next.min(Instant::now() + LOOK)).await;
        self.mend_what_is_due().await?;
        self.judge_sealed()?;
        self.help().await?;
        let now = self.clock.now();
        for node in &self.nodes {
            for consumer in &node.consumers {
                self.model
                    .judge_consumer(&node.spiffe_id(), consumer, now)?;
            }
        }
        let views: Vec<_> = self.nodes.iter().filter_map(view).collect();
        Ok(self.model.judge(&views, now)?)
    }

    fn say(&self, what: &str) {
        self.trace.line("world", what);
    }

    /// An operator at one of the control planes that run.
    async fn operator(&mut self) -> Result<Operator, NotDone> {
        let running: Vec<_> = self.planes.iter().filter(|it| it.is_running()).collect();
        let drawn = self.random.choice(&running);
        Operator::connect(drawn.and_then(|plane| plane.connect())).await
    }
}

fn view(node: &Node) -> Option<View<'_>> {
    let held = node.held()?;
    Some(View {
        node: node.spiffe_id(),
        starts: node.starts,
        held,
    })
}

fn broken(error: &NotDone) -> Ended {
    Ended::Broken(anyhow!("{error}"))
}
