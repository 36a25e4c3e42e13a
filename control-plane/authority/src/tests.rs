//! The authority as its callers see it, with real keys, a real store and a clock of our own.

mod asking;
mod attesting;
mod backup;
mod certificates;
mod claims;
mod database;
mod ending;
mod evicting;
mod faults;
mod first_start;
mod foreign_root;
mod grown;
mod hanging;
mod hierarchy;
mod keys;
mod log;
mod manual;
mod memory;
mod nodes;
mod older;
mod orphans;
mod overtaking;
mod owners;
mod policy;
mod registrations;
mod replicas;
mod rotation;
mod shares;
mod signing;
mod slow_backup;
mod stale;
mod taking;
mod token;
mod void;
mod waiving;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::rand;
use countersign_attest::attestor::SessionFacts;
use countersign_fleet::{Event, News};
use countersign_model::entropy::{Entropy, NoEntropy};
use countersign_model::{
    Criticality, EntitlementId, Registration, RegistrationKey, RenewalWindow, Selector,
    SelectorSet, SpiffeId, TrustDomain,
};
use countersign_proto::mesh::JoinTokenEvidence;
use countersign_proto::mesh::attest_node_request::Evidence;
use countersign_verify::{VerifiedSvid, proof};
use jiff::{SignedDuration, Timestamp};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData, SigningKey};
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, X509Certificate};

pub(crate) use backup::Bytes;

use super::{
    AttestedNode, Authority, AuthorityError, DatabaseAddress, Hierarchy, Mode, Policy,
    ProfileTimes, ProvenKey, PublishedSvid, RegistrationRequest, Retention, Settings,
    StoreSettings,
};

const ECDSA_P256: u16 = 0x0403;
const EXPORTER: [u8; 32] = [7; 32];
pub(crate) const MINUTE: Duration = Duration::from_secs(60);

pub(crate) fn start() -> Timestamp {
    "2026-11-21T12:00:00.25Z".parse().unwrap()
}

pub(crate) fn after(secs: i64) -> Timestamp {
    start() + SignedDuration::from_secs(secs)
}

pub(crate) fn id(path: &str) -> SpiffeId {
    SpiffeId::new(&format!("spiffe://example.org{path}")).unwrap()
}

/// The random bytes of this machine.
#[derive(Debug)]
struct Random;

impl Entropy for Random {
    #[allow(clippy::disallowed_methods, reason = "the seed of tests")]
    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoEntropy> {
        rand::fill(bytes).map_err(|_| NoEntropy)
    }
}

/// Where the tests keep their state: SQLite, or with this variable set to `postgres` a database for
/// each data directory. `make test` runs them both ways.
const STORE: &str = "COUNTERSIGN_TEST_STORE";

fn store_of(data_dir: &Path) -> StoreSettings {
    static DATABASES: Mutex<BTreeMap<PathBuf, String>> = Mutex::new(BTreeMap::new());
    if std::env::var_os(STORE).is_none_or(|store| store != "postgres") {
        return StoreSettings::Sqlite;
    }
    let mut databases = DATABASES.lock().unwrap();
    let made = || {
        let database = countersign_tests_postgres::shared().database();
        database.url().to_string()
    };
    let url = databases.entry(data_dir.to_owned()).or_insert_with(made);
    database_at(url)
}

/// The state of the control plane `a`, in a database.
fn database_at(url: &str) -> StoreSettings {
    StoreSettings::Postgres {
        address: DatabaseAddress::parse(url, None).unwrap(),
        replica: "a".to_owned(),
        invitation: None,
    }
}

fn settings(data_dir: &Path) -> Settings {
    Settings {
        trust_domain: TrustDomain::new("example.org").unwrap(),
        entropy: Arc::new(Random),
        data_dir: data_dir.to_owned(),
        store: store_of(data_dir),
        advertise: None,
        x509_ttl: Duration::from_secs(3_600),
        renew: RenewalWindow::default(),
        root_ttl: Duration::from_secs(3_650 * 86_400),
        issuing_ttl: Duration::from_secs(86_400),
        hierarchy: Hierarchy::default(),
        retention: Retention {
            age: Duration::from_secs(90 * 86_400),
            entries: 0,
        },
        policy: Policy::default(),
        times: ProfileTimes::default(),
        blocked_keys: None,
    }
}

fn on_node(id: SpiffeId, node: SpiffeId) -> RegistrationKey {
    let selectors = SelectorSet::new([Selector::UnixUid(1000)]).unwrap();
    RegistrationKey::on_node(id, node, selectors)
}

pub(crate) fn registration(workload: &str, node: &str) -> Registration {
    Registration {
        key: on_node(id(workload), id(node)),
        owner: "team-web".to_owned(),
        criticality: Criticality::default(),
        labels: BTreeMap::new(),
        x509_ttl: None,
        dns: Vec::new(),
        hint: None,
        is_default: false,
        expires_at: None,
        created_at: Timestamp::UNIX_EPOCH,
        created_seq: 0,
    }
}

/// Written whole.
fn whole(registration: Registration) -> RegistrationRequest {
    RegistrationRequest {
        registration,
        names_criticality: true,
        mode: Mode::Replace,
    }
}

/// A directory of its own. What was issued in it is judged at the end of `make test`.
pub(crate) struct Dir(tempfile::TempDir);

impl Dir {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        countersign_issued::keep(&self.path().join("cp"));
    }
}

/// Opens a directory that was given up. A test beside this one starts processes: until such a child
/// becomes its program it holds the lock of the directory as well.
async fn open_again(settings: Settings, now: Timestamp) -> Arc<Authority> {
    let opened = async {
        loop {
            match Authority::open(settings.clone(), now).await {
                Err(AuthorityError::Denied(denied)) if denied.code == "data_dir_in_use" => {
                    tokio::task::yield_now().await;
                }
                opened => return opened.unwrap(),
            }
        }
    };
    tokio::time::timeout(MINUTE, opened).await.unwrap()
}

/// A control plane in such a directory.
pub(crate) struct Plane {
    pub(crate) dir: Dir,
    pub(crate) authority: Arc<Authority>,
}

impl Plane {
    pub(crate) async fn new() -> Self {
        Self::with(|_| ()).await
    }

    async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let dir = Dir::new();
        let mut settings = settings(&dir.path().join("cp"));
        change(&mut settings);
        let authority = Authority::open(settings, start()).await.unwrap();
        Self { dir, authority }
    }

    /// Ends this process' hold on the directory and opens it again.
    pub(crate) async fn restart(self, now: Timestamp) -> Self {
        self.changed(|_| (), now).await
    }

    /// The same, with other settings.
    async fn changed(self, change: impl FnOnce(&mut Settings), now: Timestamp) -> Self {
        let Self { dir, authority } = self;
        let mut settings = authority.settings.clone();
        change(&mut settings);
        authority.flush(now).await.unwrap();
        drop(authority);
        let authority = open_again(settings, now).await;
        Self { dir, authority }
    }

    /// Ends without a word, as a crash does, and opens the directory again.
    async fn crash(self, now: Timestamp) -> Self {
        let Self { dir, authority } = self;
        let settings = authority.settings.clone();
        drop(authority);
        let authority = open_again(settings, now).await;
        Self { dir, authority }
    }

    async fn attest(&self, node: &str) -> AttestedNode {
        let (token, _) = self
            .authority
            .create_token(&id(node), 10 * MINUTE, start())
            .await
            .unwrap();
        let key = proven(&fresh_key(), &EntitlementId::node());
        self.authority
            .attest_join_token(&token, &key, start())
            .await
            .unwrap()
    }

    async fn register(&self, registration: Registration) -> EntitlementId {
        let request = whole(registration);
        let written = self.authority.register(request, false, start()).await;
        written.unwrap().registration.key.entitlement_id()
    }

    async fn refused(&self, registration: Registration) -> &'static str {
        let request = whole(registration);
        code(self.authority.register(request, false, start()).await)
    }

    async fn enrol(&self, node: &AttestedNode, entitlement: &EntitlementId) -> Arc<PublishedSvid> {
        let key = proven(&fresh_key(), entitlement);
        self.authority
            .enrol(node, entitlement, &key, start())
            .await
            .unwrap()
    }
}

/// What a session says whose node key this is.
fn facts(spki_sha256: [u8; 32], now: Timestamp) -> SessionFacts {
    SessionFacts {
        spki_sha256,
        exporter: EXPORTER,
        now,
    }
}

fn join_token(token: &str) -> Evidence {
    let token = token.to_owned();
    Evidence::JoinToken(JoinTokenEvidence { token })
}

/// With a join token as evidence, and with what a handshake has shown while it is unexpired.
impl Authority {
    fn check_join_token(
        &self,
        token: &str,
        spki: &[u8],
        now: Timestamp,
    ) -> Result<(), AuthorityError> {
        let facts = facts(Sha256::digest(spki).into(), now);
        self.screen(&join_token(token), &facts)
    }

    pub(crate) async fn attest_join_token(
        &self,
        token: &str,
        key: &ProvenKey,
        now: Timestamp,
    ) -> Result<AttestedNode, AuthorityError> {
        let facts = facts(key.spki_sha256(), now);
        self.attest(join_token(token), key, facts).await
    }

    fn recognise_by_predecessor(&self, svid: &VerifiedSvid) -> Option<AttestedNode> {
        let adopts = self.adopts(svid);
        adopts.then(|| self.recognise(&svid.id, &svid.spki_sha256))?
    }

    fn recognise(&self, id: &SpiffeId, spki_sha256: &[u8; 32]) -> Option<AttestedNode> {
        let facts = facts(*spki_sha256, start());
        self.recognise_by_svid(id, start(), &facts).ok()
    }
}

/// Whether a certificate carries a DNS name.
fn has_names(svid: &PublishedSvid) -> bool {
    let chain = svid.chain();
    let (_, leaf) = X509Certificate::from_der(&chain[0]).unwrap();
    let names = leaf.subject_alternative_name().unwrap().unwrap();
    names.value.general_names.len() > 1
}

/// The entitlements that a stream is told of.
fn entitlements(news: &News) -> BTreeSet<EntitlementId> {
    let events = news.events.iter();
    events
        .filter_map(|event| match event {
            Event::Entitlement(_, id) => Some(id.clone()),
            _ => None,
        })
        .collect()
}

/// The entitlements of whose new SVIDs a stream is told.
fn svids(news: &News) -> BTreeSet<EntitlementId> {
    let events = news.events.iter();
    events
        .filter_map(|event| match event {
            Event::Svid(_, id) => Some(id.clone()),
            _ => None,
        })
        .collect()
}

/// Why a call was denied.
fn code<T: std::fmt::Debug>(outcome: Result<T, AuthorityError>) -> &'static str {
    match outcome {
        Err(AuthorityError::Denied(denied)) => denied.code,
        other => panic!("not denied: {other:?}"),
    }
}

pub(crate) fn fresh_key() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap()
}

pub(crate) fn proven(pair: &KeyPair, entitlement: &EntitlementId) -> ProvenKey {
    proven_as(pair, ECDSA_P256, entitlement)
}

fn proven_as(pair: &KeyPair, scheme: u16, entitlement: &EntitlementId) -> ProvenKey {
    let spki = pair.subject_public_key_info();
    let message = proof::message(&EXPORTER, entitlement.as_str(), &spki);
    let signature = pair.sign(&message).unwrap();
    ProvenKey::check(&spki, scheme, &signature, &EXPORTER, entitlement).unwrap()
}
