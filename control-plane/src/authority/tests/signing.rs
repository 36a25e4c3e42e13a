//! Keys that look at the log before they sign.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};

use super::*;
use crate::ca::keys::{CaKey, DiskKeys, KeyError, KeyStore};

#[derive(Debug)]
struct Watching {
    inner: Arc<dyn CaKey>,
    witness: Arc<Witness>,
}

#[derive(Debug, Default)]
struct Witness {
    database: PathBuf,
    signatures: AtomicUsize,
    not_in_the_log: Mutex<Vec<Vec<u8>>>,
}

#[derive(Debug)]
struct WatchingStore {
    inner: DiskKeys,
    witness: Arc<Witness>,
}

impl Witness {
    /// Whether another connection finds this message in the log.
    fn is_logged(&self, message: &[u8]) -> bool {
        let (path, message) = (self.database.clone(), message.to_vec());
        let look = async move {
            let options = SqliteConnectOptions::new().filename(path).read_only(true);
            let mut connection = options.connect().await.unwrap();
            let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM issuance WHERE tbs = ?")
                .bind(message)
                .fetch_one(&mut connection)
                .await
                .unwrap();
            connection.close().await.unwrap();
            count == 1
        };
        let thread = std::thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread();
            { runtime }.enable_all().build().unwrap().block_on(look)
        });
        thread.join().unwrap()
    }
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

    fn load(&self, key_id: &str) -> Result<Arc<dyn CaKey>, KeyError> {
        Ok(self.watch(self.inner.load(key_id)?))
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

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.witness.signatures.fetch_add(1, Ordering::Relaxed);
        if !self.witness.is_logged(message) {
            let mut missing = self.witness.not_in_the_log.lock().unwrap();
            missing.push(message.to_vec());
        }
        self.inner.sign(message)
    }
}

async fn watched(dir: &Path) -> (Arc<Authority>, Arc<Witness>) {
    let settings = settings(&dir.join("cp"));
    let witness = Arc::new(Witness {
        database: settings.data_dir.join("state.db"),
        ..Witness::default()
    });
    let seen = witness.clone();
    let keys = move |dir: &crate::store::DataDir| -> Result<Box<dyn KeyStore>, AuthorityError> {
        let inner = DiskKeys::new(&dir.subdirectory("keys").unwrap());
        Ok(Box::new(WatchingStore {
            inner,
            witness: seen,
        }))
    };
    let authority = Authority::open_with(settings, keys, start()).await.unwrap();
    (authority, witness)
}

#[tokio::test]
async fn nothing_is_signed_before_its_log_entry_is_durable() {
    let dir = tempfile::tempdir().unwrap();
    let (authority, witness) = watched(dir.path()).await;
    let (token, _) = authority
        .create_token(&id("/node/a"), MINUTE, start())
        .await
        .unwrap();
    let node = authority
        .attest_join_token(&token, &|_| false, start())
        .await
        .unwrap();
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
    let dir = tempfile::tempdir().unwrap();
    let (authority, witness) = watched(dir.path()).await;
    let (token, _) = authority
        .create_token(&id("/node/a"), MINUTE, start())
        .await
        .unwrap();
    let node = authority
        .attest_join_token(&token, &|_| false, start())
        .await
        .unwrap();
    let options = SqliteConnectOptions::new().filename(&witness.database);
    let mut other = options.connect().await.unwrap();
    sqlx::query(
        "CREATE TRIGGER full BEFORE INSERT ON issuance BEGIN SELECT RAISE(ABORT, 'full'); END",
    )
    .execute(&mut other)
    .await
    .unwrap();
    let before = witness.signatures.load(Ordering::Relaxed);
    let own = EntitlementId::node();
    let key = proven(&fresh_key(), &own);
    let refused = authority.enrol(&node, &own, &key, start()).await;
    assert!(
        matches!(refused, Err(AuthorityError::Unavailable(_))),
        "{refused:?}"
    );
    assert_eq!(witness.signatures.load(Ordering::Relaxed), before);
    assert!(authority.published(&id("/node/a"), &own).is_none());

    sqlx::query("DROP TRIGGER full")
        .execute(&mut other)
        .await
        .unwrap();
    authority.enrol(&node, &own, &key, start()).await.unwrap();
}

#[tokio::test]
async fn signature_lost_in_a_crash_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let (authority, witness) = watched(dir.path()).await;
    let (token, _) = authority
        .create_token(&id("/node/a"), MINUTE, start())
        .await
        .unwrap();
    let node = authority
        .attest_join_token(&token, &|_| false, start())
        .await
        .unwrap();
    let own = EntitlementId::node();
    let key = proven(&fresh_key(), &own);
    let svid = authority.enrol(&node, &own, &key, start()).await.unwrap();
    let settings = authority.settings.clone();
    authority.flush().await.unwrap();
    drop(authority);
    let options = SqliteConnectOptions::new().filename(&witness.database);
    let mut other = options.connect().await.unwrap();
    sqlx::query("UPDATE issuance SET certificate = NULL WHERE log_index = ?")
        .bind(i64::try_from(svid.serial.index()).unwrap())
        .execute(&mut other)
        .await
        .unwrap();
    let authority = Authority::open(settings, after(4)).await.unwrap();
    let again = authority.published(&id("/node/a"), &own).unwrap();
    assert_eq!(again.serial, svid.serial);
    let plane = Plane { dir, authority };
    certificates::verify(&plane, &again.chain, after(5));
}
