//! Keys that look at the log before they sign.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use countersign_ca::key::{CaKey, KeyError, KeyStore, StoreKind, ToBeSigned};
use countersign_ca::sign::Signed;
use countersign_issue::issuance::Issuance;
use countersign_issue::profile::{Profile, Subject};
use countersign_keys::{DiskKeys, Stores};
use countersign_refusal::Denied;
use countersign_registry::{Kept, Registry, authorize};
use futures_util::FutureExt as _;

use super::super::undelivered::Undelivered;
use super::*;

#[derive(Debug)]
struct Watching {
    inner: Arc<dyn CaKey>,
    witness: Arc<Witness>,
}

/// What happens while a key signs.
type Meanwhile = Box<dyn FnOnce() -> Result<(), KeyError> + Send>;

#[derive(Default)]
pub(super) struct Witness {
    log: PathBuf,
    signatures: AtomicUsize,
    not_in_the_log: Mutex<Vec<Vec<u8>>>,
    meanwhile: Mutex<Option<Meanwhile>>,
}

impl std::fmt::Debug for Witness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Witness")
    }
}

#[derive(Debug)]
struct WatchingStore {
    inner: DiskKeys,
    witness: Arc<Witness>,
}

impl Witness {
    /// How many signatures were asked for.
    pub(super) fn signatures(&self) -> usize {
        self.signatures.load(Ordering::Relaxed)
    }

    /// Has something happen while the next signature is made.
    pub(super) fn meanwhile(&self, run: impl FnOnce() -> Result<(), KeyError> + Send + 'static) {
        *self.meanwhile.lock().unwrap() = Some(Box::new(run));
    }

    /// Whether the message is on disk, in some file of the log.
    fn is_logged(&self, message: &[u8]) -> bool {
        files(&self.log).iter().any(|file| {
            let bytes = std::fs::read(file).unwrap_or_default();
            bytes.windows(message.len()).any(|window| window == message)
        })
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else {
            files.push(path);
        }
    }
    files
}

impl WatchingStore {
    fn watch(&self, inner: Arc<dyn CaKey>) -> Arc<dyn CaKey> {
        let witness = self.witness.clone();
        Arc::new(Watching { inner, witness })
    }
}

impl KeyStore for WatchingStore {
    fn create(&self) -> Result<Arc<dyn CaKey>, KeyError> {
        Ok(self.watch(self.inner.create()?))
    }

    fn load(&self, key_id: &str, spki: &[u8]) -> Result<Arc<dyn CaKey>, KeyError> {
        Ok(self.watch(self.inner.load(key_id, spki)?))
    }

    fn destroy(&self, key_id: &str) -> Result<(), KeyError> {
        self.inner.destroy(key_id)
    }
}

impl CaKey for Watching {
    fn key_id(&self) -> &str {
        self.inner.key_id()
    }

    fn spki(&self) -> &[u8] {
        self.inner.spki()
    }

    fn sign(&self, message: &ToBeSigned) -> Result<Vec<u8>, KeyError> {
        self.witness.signatures.fetch_add(1, Ordering::Relaxed);
        if !self.witness.is_logged(message.as_bytes()) {
            let mut missing = self.witness.not_in_the_log.lock().unwrap();
            missing.push(message.as_bytes().to_vec());
        }
        let meanwhile = self.witness.meanwhile.lock().unwrap().take();
        meanwhile.map_or(Ok(()), |run| run())?;
        self.inner.sign(message)
    }
}

pub(super) async fn watched(dir: &Path) -> (Arc<Authority>, Arc<Witness>) {
    let settings = settings(&dir.join("cp"));
    let witness = Arc::new(Witness {
        log: settings.data_dir.join("log"),
        ..Witness::default()
    });
    let seen = witness.clone();
    let keys = move |dir: &countersign_store::DataDir| -> Result<Stores, AuthorityError> {
        let inner = DiskKeys::new(&dir.subdirectory("keys").unwrap());
        let witness = seen;
        let watching = Box::new(WatchingStore { inner, witness });
        Ok(Stores::of(StoreKind::Disk, watching))
    };
    let authority = Authority::open_with(settings, keys, (None, |store| store), start())
        .await
        .unwrap();
    (authority, witness)
}

/// The steps of an issuance up to the signature, for a key that nobody claims, where the right to
/// it `stands` once it is in the log.
pub(super) async fn certified(
    authority: &Authority,
    subject: Box<Subject>,
    spki: &[u8],
    stands: impl FnOnce(&Issuance) -> Result<(), Denied>,
) -> Result<Signed, AuthorityError> {
    let (issuer, ca) = authority.issuer(Profile::Svid, start())?;
    let logged = authority.append(subject, spki, &issuer, start()).await?;
    if let Err(denied) = stands(logged.issuance()) {
        let undelivered = Undelivered::of(logged.issuance());
        authority.void_undelivered(undelivered, start()).await;
        return Err(denied.into());
    }
    authority.sign(logged, ca.as_ref())
}

async fn attested(authority: &Authority) -> AttestedNode {
    let (token, _) = authority
        .create_token(&id("/node/a"), MINUTE, start())
        .await
        .unwrap();
    let key = proven(&fresh_key(), &EntitlementId::node());
    let attested = authority.attest_join_token(&token, &key, start());
    attested.await.unwrap()
}

#[tokio::test]
async fn nothing_is_signed_before_its_log_entry_is_durable() {
    let dir = Dir::new();
    let (authority, witness) = watched(dir.path()).await;
    let node = attested(&authority).await;
    let own = EntitlementId::node();
    for _ in 0..4 {
        let key = proven(&fresh_key(), &own);
        authority.enrol(&node, &own, &key, start()).await.unwrap();
    }
    authority.rotate_issuing(after(1)).await.unwrap();
    authority.prepare_root(after(2)).await.unwrap();
    authority.server_identity(after(3)).await.unwrap();
    let signatures = witness.signatures.load(Ordering::Relaxed);
    assert_eq!(signatures, 2 + 4 + 1 + 1 + 1);
    assert_eq!(authority.issued_total(), signatures as u64);
    assert!(witness.not_in_the_log.lock().unwrap().is_empty());
}

#[tokio::test]
async fn log_that_takes_nothing_stops_the_signer() {
    let dir = Dir::new();
    let (authority, witness) = watched(dir.path()).await;
    let node = attested(&authority).await;
    let before = witness.signatures.load(Ordering::Relaxed);
    let own = EntitlementId::node();
    let key = proven(&fresh_key(), &own);
    // An entry is at most 65,535 bytes: names that do not fit are refused before anything is signed.
    let mut long = registration("/web", "/node/a");
    long.owner = "x".repeat(70_000);
    let entitlement = long.key.entitlement_id();
    let mut registry = Registry::new(
        authority.state.read().registry.defaults(),
        Policy::default(),
    );
    registry.insert(Kept {
        registration: long,
        key_epoch: 0,
        raised_at: None,
        began: None,
    });
    let authorized = authorize(&registry, &node, &entitlement, start()).unwrap();
    let subject = authority.subject(authorized);
    let refused = certified(&authority, subject, key.spki(), |_| Ok(())).await;
    assert!(
        matches!(refused, Err(AuthorityError::Unavailable(_))),
        "{refused:?}"
    );
    assert_eq!(witness.signatures.load(Ordering::Relaxed), before);
    authority.enrol(&node, &own, &key, start()).await.unwrap();
}

#[tokio::test]
async fn signature_lost_in_a_crash_is_made_again() {
    let dir = Dir::new();
    let (authority, _witness) = watched(dir.path()).await;
    let node = attested(&authority).await;
    let own = EntitlementId::node();
    let key = proven(&fresh_key(), &own);
    let svid = authority.enrol(&node, &own, &key, start()).await.unwrap();
    let settings = authority.settings.clone();
    authority.flush(start()).await.unwrap();
    drop(authority);
    let signatures = settings.data_dir.join("log").join("signatures");
    std::fs::remove_dir_all(signatures).unwrap();
    let authority = Authority::open(settings, after(4)).await.unwrap();
    let again = authority.published(&id("/node/a"), &own).unwrap();
    assert_eq!(again.serial, svid.serial);
    let plane = Plane { dir, authority };
    certificates::verify(&plane, &again.chain(), after(5));
}

#[tokio::test]
async fn registration_that_changes_under_way_refuses_the_certificate() {
    let plane = Plane::new().await;
    let mut wanted = registration("/web", "/node/a");
    let web = plane.register(wanted.clone()).await;
    let node = plane.attest("/node/a").await;
    let authority = &plane.authority;
    let right = authorize(&authority.state.read().registry, &node, &web, start()).unwrap();
    let key = proven(&fresh_key(), &web);
    let subject = authority.subject(right);
    let signed = certified(authority, subject, key.spki(), |_| Ok(())).await;
    let signed = signed.unwrap();
    wanted.dns = vec!["web.local".to_owned()];
    plane.register(wanted).await;
    let published = plane.authority.publish(&node, signed, start());
    assert_eq!(code(published), "key_superseded");
    assert!(plane.authority.published(node.id(), &web).is_none());
}

/// A signature that is lost is made again by one at a time: two of them would be two certificates.
#[tokio::test]
async fn lost_signature_is_made_again_once() {
    let dir = Dir::new();
    let (authority, witness) = watched(dir.path()).await;
    let (node, own) = (attested(&authority).await, EntitlementId::node());
    let key = proven(&fresh_key(), &own);
    authority.enrol(&node, &own, &key, start()).await.unwrap();
    authority.flush(start()).await.unwrap();
    let folder = authority.settings.data_dir.join("log").join("signatures");
    for file in files(&folder) {
        let lost = vec![0; std::fs::metadata(&file).unwrap().len().try_into().unwrap()];
        std::fs::write(file, lost).unwrap();
    }
    let (other, again) = (authority.clone(), (node.clone(), own.clone(), key.clone()));
    let waits = Arc::new(Mutex::new(None));
    let seen = waits.clone();
    witness.meanwhile(move || {
        let (node, own, key) = &again;
        let second = other.enrol_unabandoned(node, own, key, start());
        *seen.lock().unwrap() = Some(second.now_or_never().is_none());
        Ok(())
    });
    authority.enrol(&node, &own, &key, start()).await.unwrap();
    assert_eq!(
        *waits.lock().unwrap(),
        Some(true),
        "it was signed again, once"
    );
}
