//! Programs of several levels over one database.

use std::collections::BTreeMap;

use super::contract::{Files, Place, Server, writer};
use super::*;
use crate::memory::MemoryDatabase;

/// The level of a database that was just made, and those of the versions to come.
const TO_COME: [Level; 3] = [Level::OWN, Level(Level::OWN.0 + 1), Level(Level::OWN.0 + 2)];
/// Levels of which this program knows the schema.
const KNOWN: [Level; 3] = [Level::FIRST, Level(2), Level::OWN];
const KINDS: [Kind; 3] = [Kind::Token, Kind::Next, Kind::AfterNext];
const NAMES: [&str; 3] = ["a", "b", "c"];
/// What happens in one run.
const STEPS: usize = 60;

/// A database that a program of any level may start on.
trait Startable {
    async fn start(&self, name: &str, speaks: Level) -> Result<Store, StoreError>;
}

impl Startable for MemoryDatabase {
    async fn start(&self, name: &str, speaks: Level) -> Result<Store, StoreError> {
        let reached = self.reached(Arc::new(memory::Direct));
        reached.open(writer(name), speaks).await
    }
}

impl Startable for Server {
    async fn start(&self, name: &str, speaks: Level) -> Result<Store, StoreError> {
        let opened = Store::connect_speaking(self.address(), writer(name), speaks).await;
        opened.map(|(store, _)| store)
    }
}

/// What a run knows: who runs, who was sealed, and what was raised.
struct Run<D> {
    database: D,
    random: fastrand::Rng,
    /// What programs speak, the first of which the database was made at.
    levels: [Level; 3],
    level: Level,
    /// What each name speaks that was not sealed, and its store while it runs.
    programs: BTreeMap<&'static str, (Level, Option<Store>)>,
    sealed: Vec<&'static str>,
}

impl<D: Startable> Run<D> {
    fn new(database: D, levels: [Level; 3], seed: u64) -> Self {
        Self {
            database,
            random: fastrand::Rng::with_seed(seed),
            levels,
            level: levels[0],
            programs: BTreeMap::new(),
            sealed: Vec::new(),
        }
    }

    async fn goes_on(&mut self) {
        for _ in 0..STEPS {
            match self.random.u8(..10) {
                0..3 => self.starts().await,
                3 => self.stops(),
                4..7 => self.writes().await,
                7..9 => self.raises().await,
                _ => self.seals().await,
            }
            self.everything_is_read().await;
        }
    }

    /// A program starts under a name, in place of the one before. It may be an older one.
    async fn starts(&mut self) {
        let name = NAMES[self.random.usize(..NAMES.len())];
        let speaks = self.levels[self.random.usize(..self.levels.len())];
        if self.sealed.contains(&name) {
            return;
        }
        // The data directory of a name has one program at a time.
        if let Some((_, store)) = self.programs.get_mut(name) {
            *store = None;
        }
        match self.database.start(name, speaks).await {
            Ok(store) => {
                assert!(speaks >= self.level, "{speaks:?} at {:?}", self.level);
                let row = Write::put(Kind::Replica, name, &true);
                store.commit(vec![row], Vec::new()).await.unwrap();
                self.programs.insert(name, (speaks, Some(store)));
            }
            Err(refused) => assert!(speaks < self.level, "{refused}"),
        }
    }

    fn stops(&mut self) {
        if let Some((_, (_, store))) = self.any() {
            *store = None;
        }
    }

    fn any(&mut self) -> Option<(&'static str, &mut (Level, Option<Store>))> {
        let many = self.programs.len();
        let nth = self.random.usize(..many.max(1));
        let mut programs = self.programs.iter_mut();
        programs.nth(nth).map(|(name, program)| (*name, program))
    }

    /// What is above the level is refused; a program may know of a level that was raised since.
    async fn writes(&mut self) {
        let kind = KINDS[self.random.usize(..KINDS.len())];
        let knows = self.random.bool();
        let level = self.level;
        let Some((name, (speaks, Some(store)))) = self.any() else {
            return;
        };
        if knows {
            store.look_at_levels().await.unwrap();
        }
        let (_, known) = store.levels();
        assert!(known.level <= level && level <= *speaks);
        let written = vec![Write::put(kind, name, &1)];
        match store.commit(written, Vec::new()).await {
            Ok(_) => assert!(kind.since() <= known.level),
            Err(StoreError::TooNew { .. }) => assert!(kind.since() > known.level),
            Err(error) => panic!("{error}"),
        }
    }

    /// It is raised where everybody speaks it who is not sealed, also who does not run.
    async fn raises(&mut self) {
        let least = self.programs.values().map(|(speaks, _)| *speaks).min();
        let Some((_, (speaks, Some(store)))) = self.any() else {
            return;
        };
        let speaks = *speaks;
        let levels = store.raise().await.unwrap();
        if least.is_some_and(|least| least >= speaks) {
            self.level = self.level.max(speaks);
        } else {
            assert!(levels.in_the_way(speaks).next().is_some());
        }
        assert_eq!(levels.level, self.level);
    }

    async fn seals(&mut self) {
        let name = NAMES[self.random.usize(..NAMES.len())];
        let others = self.programs.iter().filter(|(other, _)| **other != name);
        let store = { others }.find_map(|(_, (_, store))| store.as_ref());
        // One is left that may go on.
        if let Some(store) = store
            && self.sealed.is_empty()
            && self.programs.contains_key(name)
        {
            store.fence_out(name).await.unwrap();
            self.programs.remove(name);
            self.sealed.push(name);
        }
    }

    /// Whoever runs reads whatever was committed, and whoever may come back does.
    async fn everything_is_read(&self) {
        for (speaks, store) in self.programs.values() {
            let Some(store) = store else { continue };
            let found = store.snapshot().await.unwrap();
            let mut newest = found.entries.iter().map(|entry| entry.kind.since());
            assert_eq!(found.level, self.level);
            assert!(newest.all(|since| since <= *speaks && since <= self.level));
            assert!(self.level <= *speaks);
        }
        let mut all = self.programs.values();
        assert!(all.all(|(speaks, _)| self.level <= *speaks));
    }
}

#[tokio::test]
async fn level_is_never_above_what_all_speak() {
    let mut raised = 0;
    for seed in 0..200 {
        let mut run = Run::new(MemoryDatabase::default(), TO_COME, seed);
        run.goes_on().await;
        raised += usize::from(run.level > Level::OWN);
    }
    assert!(raised > 100, "{raised} of 200 runs raised it");
}

#[tokio::test]
async fn level_of_a_server_is_never_above_what_all_speak() {
    let mut raised = 0;
    for seed in 0..6 {
        let server = Server::new();
        drop(server.open().await);
        let gone = "UPDATE countersign.schema SET oldest = 1; DELETE FROM countersign.writers";
        server.0.sql(gone);
        let mut run = Run::new(server, KNOWN, seed);
        run.goes_on().await;
        raised += usize::from(run.level > Level::FIRST);
    }
    assert!(raised > 2, "{raised} of 6 runs raised it");
}

#[tokio::test]
async fn state_of_a_newer_program_in_a_file_is_refused() {
    let files = Files::new();
    let (store, _) = files.open().await;
    let (own, levels) = store.levels();
    assert_eq!((own, levels), (Level::OWN, Levels::alone(Level::OWN)));
    store.commit(vec![put("a", 1)], Vec::new()).await.unwrap();
    drop(store);
    let path = files.dir_path().join(DATABASE);
    let set = async |level: i32| {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
        let mut file = sqlx::ConnectOptions::connect(&options).await.unwrap();
        let set = format!("PRAGMA user_version = {level}");
        let set = sqlx::raw_sql(sqlx::AssertSqlSafe(set));
        set.execute(&mut file).await.unwrap();
    };
    // As programs left it that knew no levels.
    set(0).await;
    let opened = async || {
        // The writer of the store before gives up the lock with its last job.
        loop {
            match DataDir::open(&files.dir_path()) {
                Ok(dir) => return Store::open(&dir).await,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    let (store, _) = opened().await.unwrap();
    assert_eq!(store.levels().1.level, Level::FIRST);
    let refused = store.commit(vec![Write::put(Kind::Next, "a", &1)], Vec::new());
    let refused = refused.await.unwrap_err();
    assert!(matches!(refused, StoreError::TooNew { level: 1, .. }));
    assert_eq!(store.raise().await.unwrap().level, Level::OWN);
    let copy = files.dir_path().join("copy.db");
    store.copy_to(&copy).await.unwrap();
    assert_eq!(crate::sqlite::look(&copy).await.unwrap().level, Level::OWN);
    drop(store);
    set(Level::OWN.0 + 1).await;
    let refused = opened().await.unwrap_err();
    assert!(refused.to_string().contains("newer release"), "{refused}");
}
