//! A backup that is read slowly.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, channel};

use countersign_backup::unpack;
use countersign_store::DATABASE;
use tokio::sync::oneshot;

use super::super::scratch::{MARKER, SCRATCH};
use super::*;

const BOUND: Duration = Duration::from_secs(20);

/// What is written goes into a file; from the middle of the log on, once it is let.
struct Gated {
    file: std::fs::File,
    /// Says that the log is reached.
    reached: Option<oneshot::Sender<()>>,
    /// Its other end, once dropped, lets everything pass.
    gate: Receiver<()>,
}

impl Write for Gated {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.starts_with(b"log/journal/") {
            let _ = self.reached.take().map(|reached| reached.send(()));
            let _ = self.gate.recv();
        }
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_go_on_while_a_backup_is_read_slowly() {
    let plane = Plane::new().await;
    let node = plane.attest("/node/a").await;
    let ((let_go, gate), (reached, is_reached)) = (channel(), oneshot::channel());
    let path = plane.dir.path().join("backup.tar");
    let out = Gated {
        file: std::fs::File::create(&path).unwrap(),
        reached: Some(reached),
        gate,
    };
    let authority = plane.authority.clone();
    let backup = tokio::spawn(async move { authority.back_up(true, out, after(1)).await });
    is_reached.await.unwrap();

    let log = plane.authority.ledger.log().bytes().clone();
    for second in 2..5 {
        plane.enrol(&node, &EntitlementId::node()).await;
        let published = plane.authority.publish_log(after(second));
        let published = tokio::time::timeout(BOUND, published).await;
        published.expect("nothing holds it up").unwrap();
        assert_eq!(log.published(), log.size());
    }
    let refused = plane.authority.back_up(true, Vec::new(), after(5)).await;
    assert_eq!(code(refused), "backup_running");
    assert!(!backup.is_finished());

    drop::<Sender<()>>(let_go);
    let made = backup.await.unwrap().unwrap();
    assert!(made.manifest.log_size < log.size());
    let scratch = plane.dir.path().join("cp").join(SCRATCH);
    assert!(!scratch.exists(), "nothing is left of it");
    let restored = tempfile::tempdir().unwrap();
    let found = unpack(std::fs::File::open(&path).unwrap(), restored.path()).unwrap();
    assert_eq!(found.log_size, made.manifest.log_size);
}

#[tokio::test]
async fn what_a_killed_backup_left_is_removed_at_start() {
    let plane = Plane::new().await;
    let scratch = plane.dir.path().join("cp").join(SCRATCH);
    std::fs::create_dir_all(scratch.join("log/tile")).unwrap();
    for file in [MARKER, DATABASE] {
        std::fs::write(scratch.join(file), "").unwrap();
    }
    let plane = plane.restart(after(1)).await;
    assert!(!scratch.exists());
    drop(plane);
}

#[tokio::test]
async fn what_is_in_the_way_of_backups_stops_no_start() {
    let plane = Plane::new().await;
    let scratch = plane.dir.path().join("cp").join(SCRATCH);
    std::fs::write(&scratch, "theirs").unwrap();
    let plane = plane.restart(after(1)).await;
    let refused = plane.authority.back_up(true, Vec::new(), after(1)).await;
    let Err(AuthorityError::Unavailable(why)) = refused else {
        panic!("{refused:?}");
    };
    assert!(why.to_string().contains("move that away"), "{why}");
    std::fs::remove_file(&scratch).unwrap();
    let made = plane.authority.back_up(true, Vec::new(), after(1)).await;
    made.unwrap();
}
