//! Stores of one database that commit at random, over a memory that fails as databases do.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use proptest::prelude::*;
use tokio::task::yield_now;
use tokio::time::timeout;

use super::contract::{Files, Place, Server};
use super::*;
use crate::database::{Failed, Fate, Page, Places, Unsettled, last};
use crate::memory::MemoryDatabase;
use crate::testing::{Fault, Faults, failing};

const BOUND: Duration = Duration::from_secs(60);

/// What was handed over to one control plane, in the order in which it was.
#[derive(Clone, Default)]
pub(crate) struct Record(Arc<Mutex<Vec<Handed>>>);

#[derive(Clone, Debug)]
struct Handed {
    commit: Committed,
    is_own: bool,
    /// Whether what others commit was taken by then.
    is_ordered: bool,
}

impl Record {
    fn add(&self, commit: Committed, is_own: bool, is_ordered: bool) {
        let mut handed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        handed.push(Handed {
            commit,
            is_own,
            is_ordered,
        });
    }

    fn all(&self) -> Vec<Handed> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn then(&self, commit: &Commit, is_ordered: bool) -> impl FnOnce(Seq) + use<> {
        let (record, commit) = (self.clone(), commit.clone());
        move |seq| {
            let mut made = Committed {
                seq,
                writes: commit.writes,
                entries: commit.entries,
                signatures: commit.signatures,
            };
            made.entries.sort_by_key(LogEntry::name);
            record.add(made, true, is_ordered);
        }
    }

    pub(crate) fn take(&self) -> impl FnMut(Committed) + use<> {
        let record = self.clone();
        move |commit| record.add(commit, false, true)
    }

    fn seqs(&self) -> Vec<u64> {
        self.all().iter().map(|it| it.commit.seq.0).collect()
    }

    /// Own commits and those of others together are what the database holds after a commit, each once and
    /// in order.
    pub(crate) async fn assert_whole(&self, store: &Store, from: Seq) {
        let (mut all, mut after) = (Vec::new(), from);
        loop {
            let page = store.changes_after(after).await.unwrap().unwrap();
            let Some(newest) = page.last() else { break };
            after = newest.seq;
            all.extend(page);
        }
        let mut handed = self.all();
        for (at, one) in handed.iter().enumerate() {
            for later in &handed[at + 1..] {
                let is_ordered = one.is_ordered || one.is_own == later.is_own;
                let (one, later) = (one.commit.seq, later.commit.seq);
                assert!(!is_ordered || one < later, "{one:?} before {later:?}");
            }
        }
        // What did nothing is in no table; and what was made before `from` is known already.
        handed.retain(|it| {
            let is_made = all.iter().any(|made| made.seq == it.commit.seq);
            assert!(is_made || it.is_own, "of others only what is to be known");
            is_made
        });
        handed.sort_by_key(|it| it.commit.seq);
        assert_eq!(handed.len(), all.len(), "each once: {handed:?} {all:?}");
        for (handed, made) in handed.into_iter().zip(all) {
            let mut commit = handed.commit;
            if handed.is_own {
                // Of these some were not the first.
                commit.signatures.clone_from(&made.signatures);
            }
            assert_eq!(commit, made);
        }
    }
}

/// Returns when everything was handed over up to a commit.
pub(crate) async fn until_seen(store: &Store, seq: Seq) {
    let mut seen = store.seen();
    let seen = timeout(BOUND, seen.wait_for(|it| *it >= seq)).await;
    seen.expect("it is handed over").unwrap();
}

/// What becomes of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Sound,
    /// Others come before it, and see it before it is answered.
    Slow,
    Refused,
    /// Its answer is lost, and it is kept.
    Kept,
    /// Its answer is lost, and it is not kept.
    Lost,
}

/// What is wrong with a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unread {
    Fails,
    /// Another database answers, which has less.
    Older,
}

/// What becomes of the next batches and of the next reads.
#[derive(Clone, Default)]
struct Script {
    batches: Arc<Mutex<VecDeque<Outcome>>>,
    reads: Arc<Mutex<VecDeque<Unread>>>,
}

impl Script {
    fn of(batches: &[Outcome]) -> Self {
        Self {
            batches: Arc::new(Mutex::new(batches.iter().copied().collect())),
            ..Self::default()
        }
    }

    fn spoil_reads(&self, reads: &[Unread]) {
        self.reads.lock().unwrap().extend(reads);
    }

    /// A store of its own, over a database that others share.
    fn open(&self, memory: &MemoryDatabase) -> Store {
        let told = memory.newest();
        let newest = *told.borrow();
        let flaky = Flaky {
            memory: memory.clone(),
            script: self.clone(),
            is_kept: false,
        };
        Store::of(flaky, memory.clone(), newest, Some(told))
    }
}

struct Flaky {
    memory: MemoryDatabase,
    script: Script,
    is_kept: bool,
}

fn failed(fate: Fate) -> Failed {
    let error = DatabaseError::new("a test says so");
    Failed { error, fate }
}

impl Database for Flaky {
    async fn write(&mut self, commits: &[Commit]) -> Result<Places, Failed> {
        let next = self.script.batches.lock().unwrap().pop_front();
        let outcome = next.unwrap_or(Outcome::Sound);
        match outcome {
            Outcome::Refused => return Err(failed(Fate::Refused)),
            Outcome::Lost => {
                self.is_kept = false;
                let places = commits.iter().map(|_| Ok(Seq(1)));
                return Err(failed(Fate::Open(places.collect())));
            }
            Outcome::Sound | Outcome::Slow | Outcome::Kept => {}
        }
        if outcome == Outcome::Slow {
            for _ in 0..5 {
                yield_now().await;
            }
        }
        let places = self.memory.write(commits).await?;
        if outcome == Outcome::Slow {
            for _ in 0..5 {
                yield_now().await;
            }
        }
        self.is_kept = true;
        match outcome == Outcome::Kept && last(&places).is_some() {
            true => Err(failed(Fate::Open(places))),
            false => Ok(places),
        }
    }

    async fn settle(&mut self, _: &Places) -> Result<bool, Unsettled> {
        yield_now().await;
        Ok(self.is_kept)
    }

    async fn changes(
        &mut self,
        after: Seq,
        before: Option<Seq>,
    ) -> Result<Option<Page>, database::Unread> {
        let spoilt = self.script.reads.lock().unwrap().pop_front();
        match spoilt {
            Some(Unread::Fails) => return Err(DatabaseError::new("a test says so").into()),
            Some(Unread::Older) => {
                let newest = Seq(after.0.saturating_sub(1));
                return Ok(Some(Page::new(newest, Vec::new())));
            }
            None => {}
        }
        yield_now().await;
        self.memory.changes(after, before).await
    }
}

/// What a control plane does next.
#[derive(Clone, Debug)]
enum Act {
    Commit {
        commit: Commit,
        /// Whether the next act waits for its answer.
        is_awaited: bool,
    },
    Wait(usize),
}

/// What a control plane does, and before which act it begins to take what others commit.
#[derive(Clone, Debug)]
struct Plan {
    acts: Vec<Act>,
    begins_at: usize,
    outcomes: Vec<Outcome>,
    reads: Vec<Unread>,
}

fn commits() -> impl Strategy<Value = Commit> {
    let key = || prop::sample::select(vec!["a", "b"]);
    let write = (key(), any::<u8>()).prop_map(|(key, value)| put(key, value.into()));
    let precondition = key().prop_map(|key| Precondition::Absent(Kind::Token, key.to_owned()));
    let entry = (0..2_u32, 0..12_u64).prop_map(|(log_id, index)| LogEntry {
        log_id,
        index,
        bytes: vec![1],
    });
    let signature = (0..2_u32, 0..3_u64, any::<u8>()).prop_map(|(log_id, index, byte)| {
        let bytes = vec![byte];
        LogSignature {
            log_id,
            index,
            bytes,
        }
    });
    let parts = (
        prop::collection::vec(write, 0..3),
        prop::collection::vec(precondition, 0..2),
        prop::collection::vec(entry, 0..3),
        prop::collection::vec(signature, 0..2),
    );
    parts.prop_map(|(writes, preconditions, entries, signatures)| Commit {
        writes,
        preconditions,
        entries,
        signatures,
    })
}

fn plans() -> impl Strategy<Value = Vec<Plan>> {
    let commit = (commits(), any::<bool>())
        .prop_map(|(commit, is_awaited)| Act::Commit { commit, is_awaited });
    let act = prop_oneof![4 => commit, 1 => (1..20_usize).prop_map(Act::Wait)];
    let outcomes = vec![
        Outcome::Sound,
        Outcome::Slow,
        Outcome::Refused,
        Outcome::Kept,
        Outcome::Lost,
    ];
    let read = prop::sample::select(vec![Unread::Fails, Unread::Older]);
    let plan = (
        prop::collection::vec(act, 1..10),
        0..6_usize,
        prop::collection::vec(prop::sample::select(outcomes), 0..8),
        prop::collection::vec(read, 0..3),
    );
    let plan = plan.prop_map(|(acts, begins_at, outcomes, reads)| Plan {
        acts,
        begins_at,
        outcomes,
        reads,
    });
    prop::collection::vec(plan, 2..4)
}

type Commits = Vec<tokio::task::JoinHandle<Result<Seq, StoreError>>>;

/// Carries a plan out; returns from which commit on everything was handed over, and how many own
/// commits were made.
async fn carry_out(plan: Plan, store: Arc<Store>, script: Script, record: Record) -> (Seq, usize) {
    let (mut from, mut commits) = (None, Commits::new());
    for (n, act) in plan.acts.into_iter().enumerate() {
        if n == plan.begins_at {
            from = Some(begin(&store, &script, &record, &plan.reads).await);
        }
        match act {
            Act::Wait(times) => {
                for _ in 0..times {
                    yield_now().await;
                }
            }
            Act::Commit { commit, is_awaited } => {
                let then = record.then(&commit, from.is_some());
                let store = Arc::clone(&store);
                let mut made = tokio::spawn(async move { store.commit_then(commit, then).await });
                if is_awaited {
                    let made = (&mut made).await.unwrap();
                    commits.push(tokio::spawn(async { made }));
                } else {
                    commits.push(made);
                }
            }
        }
    }
    let mut made = 0;
    for commit in commits {
        match commit.await.unwrap() {
            Ok(_) => made += 1,
            Err(StoreError::Conflict | StoreError::EntryExists { .. } | StoreError::Batch(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    let from = match from {
        Some(from) => from,
        None => begin(&store, &script, &record, &plan.reads).await,
    };
    (from, made)
}

async fn begin(store: &Store, script: &Script, record: &Record, reads: &[Unread]) -> Seq {
    let from = store.snapshot().await.unwrap().seq;
    for _ in 0..3 {
        yield_now().await;
    }
    script.spoil_reads(reads);
    store.hand_over(from, record.take()).await;
    from
}

async fn assert_handed_over(plans: Vec<Plan>) {
    let memory = MemoryDatabase::default();
    let mut stores = Vec::new();
    let mut running = Vec::new();
    for plan in plans {
        let (script, record) = (Script::of(&plan.outcomes), Record::default());
        let store = Arc::new(script.open(&memory));
        let carried_out = carry_out(plan, Arc::clone(&store), script, record.clone());
        running.push(tokio::spawn(carried_out));
        stores.push((store, record));
    }
    let mut ended = Vec::new();
    for one in running {
        ended.push(timeout(BOUND, one).await.unwrap().unwrap());
    }
    let newest = *memory.newest().borrow();
    for ((store, record), (from, made)) in stores.iter().zip(ended) {
        until_seen(store, newest).await;
        assert_eq!(*store.seen().borrow(), newest);
        let own = record.all().iter().filter(|it| it.is_own).count();
        assert_eq!(own, made, "what is acknowledged is what is handed over");
        record.assert_whole(store, from).await;
        assert!(!store.is_stopped());
    }
}

proptest! {
    /// Whatever others commit, and whatever becomes of an answer.
    #[test]
    fn every_commit_is_handed_over_once_in_order(plans in plans()) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(assert_handed_over(plans));
    }
}

/// Two stores of one memory: what becomes of the batches of the first is said.
fn two(outcomes: &[Outcome]) -> (Script, Store, Store) {
    let memory = MemoryDatabase::default();
    let script = Script::of(outcomes);
    let one = script.open(&memory);
    let (other, _) = Store::in_memory(&memory);
    (script, one, other)
}

fn writing(key: &str) -> Commit {
    Commit {
        writes: vec![put(key, 1)],
        ..Commit::default()
    }
}

async fn commit(store: &Store, record: &Record, key: &str) -> Result<Seq, StoreError> {
    let commit = writing(key);
    let then = record.then(&commit, true);
    store.commit_then(commit, then).await
}

#[tokio::test]
async fn undecided_commit_is_handed_over_if_it_is_kept() {
    let (_, one, other) = two(&[Outcome::Lost, Outcome::Kept, Outcome::Refused]);
    let record = Record::default();
    one.hand_over(Seq(0), record.take()).await;
    other.commit(vec![put("o", 1)], Vec::new()).await.unwrap();
    assert!(commit(&one, &record, "lost").await.is_err());
    assert_eq!(commit(&one, &record, "kept").await.unwrap(), Seq(2));
    assert!(commit(&one, &record, "refused").await.is_err());
    until_seen(&one, Seq(2)).await;
    assert_eq!(record.seqs(), [1, 2]);
    record.assert_whole(&one, Seq(0)).await;
}

/// The time is that of the test: a read is made again after a while.
#[tokio::test(start_paused = true)]
async fn own_commit_waits_for_those_before_it() {
    let (script, one, other) = two(&[]);
    let record = Record::default();
    other.commit(vec![put("o", 1)], Vec::new()).await.unwrap();
    script.spoil_reads(&[Unread::Fails; 5]);
    one.hand_over(Seq(0), record.take()).await;
    let one = Arc::new(one);
    let own = {
        let (one, record) = (Arc::clone(&one), record.clone());
        tokio::spawn(async move { commit(&one, &record, "own").await })
    };
    let mut newest = other.follow().unwrap();
    newest.wait_for(|it| *it == Seq(2)).await.unwrap();
    let meanwhile = commit(&one, &record, "meanwhile").await.unwrap_err();
    assert!(
        meanwhile.to_string().contains("cannot be read"),
        "{meanwhile}"
    );
    assert!(!own.is_finished() && record.seqs().is_empty());
    assert_eq!(own.await.unwrap().unwrap(), Seq(2));
    assert_eq!(record.seqs(), [1, 2]);
    assert!(!one.behind().is_refusing(), "it is read again");
}

/// Nobody commits here, and a read that failed is made again all the same.
#[tokio::test(start_paused = true)]
async fn read_that_failed_is_made_again() {
    let (script, one, other) = two(&[]);
    let record = Record::default();
    one.hand_over(Seq(0), record.take()).await;
    script.spoil_reads(&[Unread::Fails, Unread::Older]);
    other.commit(vec![put("o", 1)], Vec::new()).await.unwrap();
    until_seen(&one, Seq(1)).await;
    assert_eq!(record.seqs(), [1]);
    assert!(!one.is_stopped() && !one.behind().is_refusing());
}

/// A database that took over and lacks what was read is asked again; nothing of it is taken.
#[tokio::test(start_paused = true)]
async fn older_database_hands_nothing_over() {
    let (script, one, other) = two(&[]);
    let record = Record::default();
    one.hand_over(Seq(0), record.take()).await;
    other.commit(vec![put("o", 1)], Vec::new()).await.unwrap();
    until_seen(&one, Seq(1)).await;
    script.spoil_reads(&[Unread::Older; 2]);
    other.commit(vec![put("o", 2)], Vec::new()).await.unwrap();
    while !one.behind().is_refusing() {
        yield_now().await;
    }
    let told = one.behind().told("reads", Default::default()).unwrap();
    assert!(
        told.contains("has commit 0 as its newest, and 2 was made"),
        "{told}"
    );
    assert_eq!(record.seqs(), [1]);
    until_seen(&one, Seq(2)).await;
    assert_eq!(record.seqs(), [1, 2]);
}

/// Who is refused since another was first finds in memory what that one did.
#[tokio::test]
async fn conflict_is_answered_after_its_cause_is_taken() {
    let (_, one, other) = two(&[Outcome::Slow]);
    let record = Record::default();
    one.hand_over(Seq(0), record.take()).await;
    let absent = |key: &str| Commit {
        preconditions: vec![Precondition::Absent(Kind::Token, key.to_owned())],
        ..writing(key)
    };
    let (lost, won) = tokio::join!(make(&one, absent("a")), make(&other, absent("a")),);
    assert!(won.is_ok() && matches!(lost, Err(StoreError::Conflict)));
    assert_eq!(record.seqs(), [1]);
}

async fn commit_is_handed_over_before_it_is_answered(place: impl Place) {
    let (store, _) = place.open().await;
    let record = Record::default();
    let seq = commit(&store, &record, "before").await.unwrap();
    assert_eq!(record.seqs(), [seq.0], "also where nobody takes others");
    assert_eq!(*store.seen().borrow(), seq);
    store.hand_over(Seq(0), record.take()).await;
    let absent = Commit {
        preconditions: vec![Precondition::Absent(Kind::Token, "before".to_owned())],
        ..writing("before")
    };
    let then = record.then(&absent, true);
    let refused = store.commit_then(absent, then).await;
    assert!(matches!(refused, Err(StoreError::Conflict)), "{refused:?}");
    let next = commit(&store, &record, "after").await.unwrap();
    assert_eq!(record.seqs(), [seq.0, next.0]);
    assert_eq!(*store.seen().borrow(), next);
}

#[tokio::test]
async fn commit_to_files_is_handed_over() {
    commit_is_handed_over_before_it_is_answered(Files::new()).await;
}

#[tokio::test]
async fn commit_to_memory_is_handed_over() {
    commit_is_handed_over_before_it_is_answered(MemoryDatabase::default()).await;
}

#[tokio::test]
async fn commit_to_a_server_is_handed_over() {
    commit_is_handed_over_before_it_is_answered(Server::new()).await;
}

/// Who asked for a commit went away; what it did to the memory is done.
#[tokio::test]
async fn commit_of_a_caller_that_left_is_handed_over() {
    let (_, one, _other) = two(&[Outcome::Slow]);
    let record = Record::default();
    {
        let left = std::pin::pin!(commit(&one, &record, "left"));
        assert!(futures_util::poll!(left).is_pending());
    }
    one.flush().await.unwrap();
    assert_eq!(record.seqs(), [1]);
}

#[tokio::test]
async fn commit_that_panics_stops_the_store() {
    let (_, one, other) = two(&[]);
    let record = Record::default();
    let panics = one.commit_then(writing("a"), |_| panic!("a test says so"));
    let beside = commit(&one, &record, "b");
    let (told, beside) = timeout(BOUND, async { tokio::join!(panics, beside) })
        .await
        .expect("callers are answered");
    assert!(matches!(told, Err(StoreError::Stopped)), "{told:?}");
    assert!(matches!(beside, Err(StoreError::Stopped)), "{beside:?}");
    assert!(one.is_stopped() && one.refused().is_refusing());
    assert!(record.seqs().is_empty(), "nothing goes on from there");

    other.hand_over(Seq(0), |_| panic!("a test says so")).await;
    let stopped = async {
        while !other.is_stopped() {
            yield_now().await;
        }
    };
    timeout(BOUND, stopped).await.expect("it stops");
    assert!(other.refused().is_refusing());
}

#[tokio::test]
async fn commit_that_a_fault_hides_is_not_handed_over() {
    let (_, one, _other) = two(&[]);
    let faults = Faults::default();
    let one = failing(one, Arc::clone(&faults));
    *faults.lock().unwrap() = Fault::StopAfter(Kind::Token);
    let record = Record::default();
    let hidden = commit(&one, &record, "a").await;
    assert!(matches!(hidden, Err(StoreError::Stopped)), "{hidden:?}");
    assert!(record.seqs().is_empty());
}

#[tokio::test]
async fn closed_store_lets_go_of_who_takes() {
    let (_, one, _other) = two(&[]);
    let held = Arc::new(());
    let holds = Arc::clone(&held);
    one.hand_over(Seq(0), move |_| drop(Arc::clone(&holds)))
        .await;
    assert_eq!(Arc::strong_count(&held), 2);
    drop(one);
    let gone = async {
        while Arc::strong_count(&held) > 1 {
            yield_now().await;
        }
    };
    timeout(BOUND, gone).await.expect("nothing holds it");
}

#[tokio::test]
#[should_panic(expected = "one takes what others commit")]
async fn second_who_takes_is_a_mistake() {
    let (_, one, _other) = two(&[]);
    one.hand_over(Seq(0), |_| ()).await;
    one.hand_over(Seq(0), |_| ()).await;
}
