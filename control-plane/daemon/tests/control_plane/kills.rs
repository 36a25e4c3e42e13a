//! Kill -9 in a loop, while operators and nodes are at work: what was acknowledged is there, what
//! was not is there whole or not at all, and every certificate that anybody saw is in the log.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use countersign_model::Serial;
use countersign_proto::admin as wire;
use countersign_proto::convert::time::duration;
use rcgen::KeyPair;
use tokio::task::JoinSet;
use tonic::Code;

use crate::daemon::{Daemon, Operator};
use crate::harness::{Node, Session, dial, listed, until};
use crate::ledger;

/// How often it is killed, where nobody says otherwise.
const KILLS: u32 = 20;
/// The environment variable that says otherwise.
const KILLS_VARIABLE: &str = "COUNTERSIGN_KILLS";
/// The environment variable that repeats a run.
const SEED_VARIABLE: &str = "COUNTERSIGN_SEED";
/// The longest life, in milliseconds.
const LONGEST_LIFE: u64 = 300;
/// One life in so many is so short that it ends before it began to serve.
const STILLBORN: u32 = 5;
const IDS: u32 = 12;
const NODES: u32 = 3;

/// What is there after a kill: of what was acknowledged this, of what was under way either.
#[derive(Clone, Debug)]
struct Maybe<T>(Vec<T>);

impl<T: PartialEq + std::fmt::Debug + Clone> Maybe<T> {
    fn surely(value: T) -> Self {
        Self(vec![value])
    }

    fn or(&mut self, value: T) {
        self.0.push(value);
    }

    /// It was looked at: from now on it is this.
    fn is(&mut self, found: T, what: &str) {
        assert!(self.0.contains(&found), "{what} is {found:?}, not {self:?}");
        *self = Self::surely(found);
    }
}

/// What clients know, over all lives.
#[derive(Default)]
struct World {
    /// The owner that an ID is registered with, or none.
    registered: BTreeMap<String, Maybe<Option<String>>>,
    /// Tokens, and whether they can still be used.
    tokens: BTreeMap<String, (String, Maybe<bool>)>,
    nodes: BTreeMap<String, Node>,
    serials: Vec<Serial>,
    acknowledged: usize,
}

/// What one client found out in one life.
enum Learnt {
    Registrar(BTreeMap<String, Maybe<Option<String>>>, usize),
    Tokens(BTreeMap<String, (String, Maybe<bool>)>, Vec<Serial>),
    Enroller(Vec<Serial>),
}

/// A node that attests once and stays.
fn steady(number: u32) -> String {
    format!("spiffe://example.org/node/steady-{number}")
}

fn number<T: std::str::FromStr>(variable: &str) -> Option<T> {
    std::env::var(variable).ok()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
#[allow(
    clippy::disallowed_methods,
    reason = "the seed of a run, which is told"
)]
async fn a_kill_at_any_moment_loses_nothing_acknowledged() {
    let seed = number(SEED_VARIABLE).unwrap_or_else(|| fastrand::u64(..));
    let kills = number(KILLS_VARIABLE).unwrap_or(KILLS);
    println!("seed {seed}, {kills} kills");
    let mut random = fastrand::Rng::with_seed(seed);
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("cp");
    let mut daemon = Daemon::configure(folder.path(), &data_dir, "");
    let mut world = World::default();
    for _ in 0..kills {
        if random.u32(..STILLBORN) == 0 {
            daemon.spawn();
            tokio::time::sleep(Duration::from_millis(random.u64(..100))).await;
            daemon.kill().await;
            continue;
        }
        let operator = daemon.start().await;
        world.check(&operator).await;
        world.settle(&operator).await;
        let mut clients = world.clients(&operator, &mut random);
        // The moment is what this test is about.
        tokio::time::sleep(Duration::from_millis(random.u64(..LONGEST_LIFE))).await;
        daemon.kill().await;
        while let Some(learnt) = clients.join_next().await {
            world.learn(learnt.unwrap());
        }
    }
    let operator = daemon.start().await;
    world.check(&operator).await;
    world.tokens_are_good_once(&operator).await;
    daemon.kill().await;
    world.check_log(&data_dir);
    println!(
        "{} acknowledged changes, {} tokens, {} certificates",
        world.acknowledged,
        world.tokens.len(),
        world.serials.len()
    );
}

impl World {
    /// Everything acknowledged is there, and nothing half.
    async fn check(&mut self, operator: &Operator) {
        let admin = operator.admin.clone();
        let listed = listed(&admin).await.unwrap();
        let found: BTreeMap<_, _> = listed.iter().map(|item| (&item.id, item)).collect();
        assert_eq!(found.len(), listed.len(), "an ID is there twice");
        for (id, registered) in &mut self.registered {
            let owner = found.get(id).map(|item| item.owner.clone());
            registered.is(owner, id);
        }
        for item in &listed {
            assert!(
                self.registered.contains_key(&item.id),
                "nobody asked: {item:?}"
            );
            assert_eq!(item.selectors, ["unix:uid:1000"], "{item:?}");
        }
    }

    /// The nodes are there, each attested once, over all lives.
    async fn settle(&mut self, operator: &Operator) {
        for number in 0..NODES {
            let id = steady(number);
            if self.nodes.contains_key(&id) {
                continue;
            }
            let token = make_token(operator, &id).await.unwrap();
            let session = dial(operator.api, &operator.bundle, None).await;
            let key = KeyPair::generate().unwrap();
            let answer = session.unwrap().attest(&token, &key, "node").await.unwrap();
            self.nodes.insert(
                id,
                Node {
                    chain: answer.chain,
                    key,
                },
            );
        }
    }

    fn clients(&self, operator: &Operator, random: &mut fastrand::Rng) -> JoinSet<Learnt> {
        let mut clients = JoinSet::new();
        let (registered, rng) = (self.registered.clone(), random.fork());
        clients.spawn(registrar(operator.clone(), registered, rng));
        clients.spawn(token_user(operator.clone(), random.u64(..)));
        for (id, node) in &self.nodes {
            let node = Node {
                chain: node.chain.clone(),
                key: KeyPair::try_from(node.key.serialize_der()).unwrap(),
            };
            clients.spawn(enroller(operator.clone(), id.clone(), node));
        }
        clients
    }

    fn learn(&mut self, learnt: Learnt) {
        match learnt {
            Learnt::Registrar(registered, acknowledged) => {
                self.registered = registered;
                self.acknowledged += acknowledged;
            }
            Learnt::Tokens(tokens, serials) => {
                self.tokens.extend(tokens);
                self.serials.extend(serials);
            }
            Learnt::Enroller(serials) => self.serials.extend(serials),
        }
    }

    async fn tokens_are_good_once(&mut self, operator: &Operator) {
        for (token, (node, usable)) in &mut self.tokens {
            let session = dial(operator.api, &operator.bundle, None).await;
            let session = session.unwrap();
            usable.is(attests(&session, token).await, node);
            assert!(!attests(&session, token).await, "{node} attested twice");
        }
    }

    fn check_log(&self, data_dir: &std::path::Path) {
        let logged = ledger::certificates(&ledger::entries(data_dir));
        for (index, serial) in &logged {
            assert_eq!(*index, serial.index(), "a serial bears its coordinate");
        }
        let mut seen = BTreeSet::new();
        for serial in &self.serials {
            assert!(seen.insert(*serial), "{serial} was issued twice");
            assert_eq!(logged.get(&serial.index()), Some(serial), "not in the log");
        }
    }
}

/// Registers and unregisters, until nobody answers.
async fn registrar(
    operator: Operator,
    mut registered: BTreeMap<String, Maybe<Option<String>>>,
    mut random: fastrand::Rng,
) -> Learnt {
    let (mut admin, mut acknowledged) = (operator.admin, 0);
    loop {
        let number = random.u32(..IDS);
        let id = format!("spiffe://example.org/web-{number}");
        let known = registered.entry(id.clone());
        let known = known.or_insert_with(|| Maybe::surely(None));
        let owner = (random.u32(..4) > 0).then(|| random.u64(..).to_string());
        // Under way: it may be either from here on.
        known.or(owner.clone());
        let done = match &owner {
            Some(owner) => {
                let registration = wire::Registration {
                    id,
                    node: steady(number % NODES),
                    selectors: vec!["unix:uid:1000".to_owned()],
                    owner: owner.clone(),
                    ..wire::Registration::default()
                };
                let request = wire::RegisterRequest::whole(registration);
                admin.register(request).await.map(drop)
            }
            None => {
                let node = String::new();
                let request = wire::UnregisterRequest { id, node };
                admin.unregister(request).await.map(drop)
            }
        };
        match done {
            Ok(()) => acknowledged += 1,
            Err(status) if status.code() == Code::NotFound => {}
            Err(_) => return Learnt::Registrar(registered, acknowledged),
        }
        *known = Maybe::surely(owner);
    }
}

async fn make_token(operator: &Operator, node: &str) -> Option<String> {
    let mut admin = operator.admin.clone();
    let request = wire::CreateTokenRequest {
        node: node.to_owned(),
        ttl: Some(duration(Duration::from_secs(3_600))),
    };
    let made = admin.create_token(request).await.ok()?;
    Some(made.into_inner().token)
}

/// Whether a token is good, now that it was used.
async fn attests(session: &Session, token: &str) -> bool {
    let key = KeyPair::generate().unwrap();
    let mut attested = None;
    // So many bad tokens from one address are sent away for a while.
    until(async || {
        let answer = session.attest(token, &key, "node").await;
        attested = match answer.map_err(|status| status.code()) {
            Ok(_) => Some(true),
            Err(Code::PermissionDenied) => Some(false),
            Err(Code::ResourceExhausted) => None,
            Err(code) => panic!("{code}"),
        };
        attested.is_some()
    })
    .await;
    attested.expect("it was answered")
}

/// Makes tokens and uses every other, until nobody answers.
async fn token_user(operator: Operator, name: u64) -> Learnt {
    let (mut tokens, mut serials) = (BTreeMap::new(), Vec::new());
    for number in 0.. {
        let node = format!("spiffe://example.org/node/once-{name}-{number}");
        let Some(token) = make_token(&operator, &node).await else {
            break;
        };
        let known = (node, Maybe::surely(true));
        let (_, usable) = tokens.entry(token.clone()).or_insert(known);
        if number % 2 == 0 {
            continue;
        }
        let Ok(session) = dial(operator.api, &operator.bundle, None).await else {
            break;
        };
        usable.or(false);
        let key = KeyPair::generate().unwrap();
        let Ok(answer) = session.attest(&token, &key, "node").await else {
            break;
        };
        *usable = Maybe::surely(false);
        serials.push(serial_of(&answer.chain[0]));
    }
    Learnt::Tokens(tokens, serials)
}

/// Enrols keys of a node, until nobody answers. The node's own key stays what it was.
async fn enroller(operator: Operator, id: String, node: Node) -> Learnt {
    let mut serials = Vec::new();
    let identity = Some((node.chain.as_slice(), &node.key));
    let Ok(session) = dial(operator.api, &operator.bundle, identity).await else {
        return Learnt::Enroller(serials);
    };
    let items = listed(&operator.admin).await.unwrap_or_default();
    let own: Vec<_> = items.into_iter().filter(|item| item.node == id).collect();
    for entitlement in own.iter().map(|item| &item.entitlement).cycle() {
        let key = KeyPair::generate().unwrap();
        match session.enrol(entitlement, &key).await {
            Ok(enrolled) => serials.push(Serial::from_bytes(&enrolled.serial).unwrap()),
            // Unregistered meanwhile.
            Err(status) if status.code() == Code::NotFound => {}
            Err(_) => break,
        }
    }
    Learnt::Enroller(serials)
}

fn serial_of(leaf: &[u8]) -> Serial {
    use x509_parser::prelude::{FromDer, X509Certificate};
    let (_, leaf) = X509Certificate::from_der(leaf).unwrap();
    Serial::from_bytes(leaf.raw_serial()).unwrap()
}
