use std::sync::Mutex;
use std::time::Duration;

use countersign_issue::key::{PublicKey, key_id};
use countersign_issue::prepare;
use countersign_issue::profile::{Issuer, ProfileTimes, Subject};
use countersign_model::Coordinate;
use countersign_proto::log::Refused;
use countersign_tlog::NotKept;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};
use tempfile::TempDir;

use super::*;
use crate::key::{CaKey, KeyError, ToBeSigned};
use crate::sign::{Signed, sign};

const ID: u32 = 0x01_0000;

#[derive(Debug)]
struct Eights;

impl Entropy for Eights {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoEntropy> {
        bytes.fill(8);
        Ok(())
    }
}

/// Entries in memory, a batch at each hundredth place.
#[derive(Clone, Debug, Default)]
struct Memory(Arc<Mutex<Vec<Vec<u8>>>>);

impl Archive for Memory {
    fn keep(&mut self, first: u64, entries: &[&[u8]]) -> Result<u64, NotKept> {
        let mut kept = self.0.lock().unwrap();
        if kept.len() >= 3 {
            return Err(NotKept::Refused("the database is away".to_owned()));
        }
        assert_eq!(first, kept.len() as u64);
        kept.extend(entries.iter().map(|entry| entry.to_vec()));
        Ok(100 * kept.len() as u64)
    }

    fn end(&mut self) -> Result<u64, String> {
        Ok(self.0.lock().unwrap().len() as u64)
    }

    fn page(&mut self, from: u64) -> Result<Vec<(u64, Vec<u8>)>, String> {
        let numbered = (0..).zip(self.0.lock().unwrap().clone());
        Ok(numbered.skip_while(|(index, _)| *index < from).collect())
    }
}

/// Signs anything.
#[derive(Debug)]
struct AnyKey(String);

impl CaKey for AnyKey {
    fn key_id(&self) -> &str {
        &self.0
    }

    fn spki(&self) -> &[u8] {
        &[]
    }

    fn sign(&self, _: &ToBeSigned) -> Result<Vec<u8>, KeyError> {
        Ok(vec![1, 2, 3])
    }
}

fn domain() -> TrustDomain {
    TrustDomain::new("example.org").unwrap()
}

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

fn open(folder: &TempDir, archive: Option<&Memory>) -> Log {
    let archive = archive.map(|archive| Box::new(archive.clone()) as Box<dyn Archive>);
    Log::open(ID, &domain(), folder.path(), Arc::new(Eights), archive).unwrap()
}

fn linted(serial: Serial) -> Result<Linted, PrepareError> {
    let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let key = PublicKey::read(&pair.subject_public_key_info()).unwrap();
    let issuer = Issuer {
        key_id: key_id(b"issuer"),
        key_identifier: key_id(b"issuer"),
        common_name: "issuer".to_owned(),
        not_before: now() - Duration::from_secs(3_600),
        not_after: now() + Duration::from_secs(3_600),
    };
    let ttl = Duration::from_secs(600);
    let subject = Subject::server(&domain(), ttl, &ProfileTimes::default());
    prepare(subject, &key, serial, &issuer, now())
}

#[tokio::test]
async fn log_refuses_what_was_prepared_for_another_place() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(&folder, None);
    let of = |index| Serial::new(ID, index, [7; 8]).unwrap();
    // The same index: a serial is its random part as well.
    for other in [of(0), of(1)] {
        let refused = log.append(|_| linted(other)).await;
        let refused = refused.expect_err("it has another serial");
        assert!(matches!(refused, AppendError::Made(NotLogged::OtherSerial)));
        assert_eq!(log.size(), 0, "nothing is in the log");
    }
    let logged = log.append(linted).await.unwrap();
    assert_eq!(logged.issuance().serial.index(), 0);
    assert_eq!((logged.place(), logged.issuance().order), (0, 0));
}

#[tokio::test]
async fn entries_know_their_place_in_the_archive() {
    let (folder, archive) = (tempfile::tempdir().unwrap(), Memory::default());
    let log = open(&folder, Some(&archive));
    let logged = log.append(linted).await.unwrap();
    assert_eq!((logged.place(), logged.issuance().order), (100, 100));
    let noted = log.note_placed(now(), What::Refused(Refused::default()));
    let (index, place) = (1, 200);
    assert_eq!(noted.await.unwrap(), Appended { index, place });
    let refused = || What::Refused(Refused::default());
    assert_eq!(log.note(now(), refused()).await.unwrap(), 2);
    let away = log.note(now(), refused()).await.unwrap_err();
    assert!(matches!(away, LogError::NotArchived(_)), "{away:?}");
    assert!(!log.refused().is_refusing(), "the disk refused nothing");
    let read_back = log.read_back(0).unwrap().unwrap();
    assert_eq!((read_back.place(), read_back.issuance().order), (0, 0));
    let noted = log.scan(0).next().unwrap().unwrap().placed(7);
    assert_eq!(noted.place(), 7);
    let Said::Issued(logged) = noted.said().unwrap() else {
        panic!("a certificate");
    };
    assert_eq!((logged.place(), logged.issuance().order), (7, 7));
}

#[tokio::test]
async fn log_is_read_back_from_its_archive() {
    let (folder, archive) = (tempfile::tempdir().unwrap(), Memory::default());
    let log = open(&folder, Some(&archive));
    let logged = log.append(linted).await.unwrap();
    drop(log);
    let empty = tempfile::tempdir().unwrap();
    let log = open(&empty, Some(&archive));
    assert!(log.holds(&logged.issuance().serial).unwrap());
}

#[tokio::test]
async fn entry_of_another_replica_is_read_and_never_signed() {
    let (folder, archive) = (tempfile::tempdir().unwrap(), Memory::default());
    let log = open(&folder, Some(&archive));
    let logged = log.append(linted).await.unwrap();
    let key = AnyKey(logged.issuance().issuer.clone());
    let bytes = archive.0.lock().unwrap()[0].clone();

    let at = logged.issuance().serial.coordinate();
    let foreign = || match Noted::read(at, &bytes).unwrap().placed(5).said().unwrap() {
        Said::Issued(logged) => logged,
        other => panic!("{other:?}"),
    };
    assert_eq!(foreign().issuance().tbs, logged.issuance().tbs);
    assert_eq!(foreign().place(), 5);
    let refused = sign(foreign(), &key);
    assert!(
        matches!(refused, Err(KeyError::LoggedElsewhere)),
        "{refused:?}"
    );
    let kept = Signed::from_kept(foreign(), vec![1, 2, 3]);
    let signed = sign(logged, &key).unwrap();
    assert_eq!(kept.certificate(), signed.certificate());
}

#[tokio::test]
async fn certificate_under_another_coordinate_is_refused() {
    let (folder, archive) = (tempfile::tempdir().unwrap(), Memory::default());
    let log = open(&folder, Some(&archive));
    log.append(linted).await.unwrap();
    log.note(now(), What::Refused(Refused::default()))
        .await
        .unwrap();
    let entries = archive.0.lock().unwrap().clone();
    for (id, index) in [(ID, 1), (ID + 1, 0)] {
        let at = Coordinate::new(id, index).unwrap();
        let refused = Noted::read(at, &entries[0]);
        assert!(matches!(refused, Err(LogError::Foreign(_))), "{refused:?}");
        assert!(Noted::read(at, &entries[1]).is_ok(), "it names no place");
        let damaged = Noted::read(at, &[0xff; 9]);
        assert!(matches!(damaged, Err(LogError::Damaged(_))), "{damaged:?}");
    }
}

/// The disk of a replica is gone; another one makes its log again and can prove what is in it.
#[tokio::test]
async fn log_of_a_lost_replica_is_sealed() {
    let (lost, archive) = (tempfile::tempdir().unwrap(), Memory::default());
    let log = open(&lost, Some(&archive));
    for _ in 0..3 {
        log.append(linted).await.unwrap();
    }
    log.bytes().publish(now()).unwrap();
    let note = |folder: &Path| std::fs::read_to_string(folder.join("checkpoint")).unwrap();
    let before = note(&lost.path().join(FOLDER));
    drop(log);
    drop(lost);

    let survivor = tempfile::tempdir().unwrap();
    let domain = domain();
    let own = Log::open(ID + 1, &domain, survivor.path(), Arc::new(Eights), None).unwrap();
    let mut archive = archive.clone();
    let sealed = seal(ID, &domain, survivor.path(), &mut archive, &mut |_, _| true);
    let sealed = sealed.unwrap().expect("nobody ends it");
    let folder = sealed_folder(survivor.path(), ID);
    let text = |note: &str| note.split_once("\n\n").unwrap().0.to_owned();
    assert_eq!(text(&note(&folder)), text(&before), "name, size and root");
    assert_ne!(note(&folder), before, "the key is another");
    let proof = tlog::inclusion(&folder, 1, sealed.size).unwrap();
    assert_eq!(proof.len(), 2);
    let announced = super::sealed(ID, "b", &sealed);
    let index = own.note(now(), announced.clone()).await.unwrap();
    let noted = own.scan(index).next().unwrap().unwrap();
    assert_eq!(noted.what(), Some(&announced));
}
