//! Two attestations of one node at the same moment: one lineage lives, also where the stream of the
//! other is open already.

use std::time::SystemTime;

use rcgen::KeyPair;
use tonic::Code;

use crate::daemon::Daemon;
use crate::disks::{Fault, attested, session, token};
use crate::harness::*;

/// Long enough that the commit still waits when the stream is open; it is cut short then.
const SLOW_DISK: &str = "delay_enter=15s";

/// The stream opens when the newer attestation has found nobody connected, and before it is
/// committed.
async fn open_stream_ends(with_same_key: bool) {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("cp");
    let mut daemon = Daemon::configure(folder.path(), &data_dir, "");
    let operator = daemon.start().await;
    let node = attested(&operator).await;
    let calls = session(&operator, &node).await;
    let newer = token(&operator).await.unwrap();
    let key = match with_same_key {
        true => KeyPair::try_from(node.key.serialize_der()).unwrap(),
        false => KeyPair::generate().unwrap(),
    };
    let stranger = dial(operator.api, &operator.bundle, None).await.unwrap();

    let log = data_dir.join("state.db-wal");
    let written = || -> SystemTime { log.metadata().unwrap().modified().unwrap() };
    let before = written();
    let fault = Fault::with("fsync,fdatasync", SLOW_DISK, daemon.pid()).await;
    let attesting = tokio::spawn(async move { stranger.attest(&newer, &key, "node").await });
    until(async || written() != before).await;
    assert!(!attesting.is_finished());
    let mut stream = calls.discover(hello()).await.unwrap();
    assert!(!attesting.is_finished(), "the stream opened too late");
    fault.end().await;
    attesting.await.unwrap().unwrap();
    let ended = stream.ended().await;
    assert_eq!(ended.code(), Code::Unauthenticated, "{ended}");
    if !with_same_key {
        let refused = calls.enrol("node", &KeyPair::generate().unwrap()).await;
        assert_eq!(refused.unwrap_err().code(), Code::Unauthenticated);
    }
    daemon.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn open_stream_of_the_losing_lineage_ends() {
    open_stream_ends(false).await;
}

/// The key is that of the living lineage, and the stream is not.
#[tokio::test(flavor = "multi_thread")]
async fn open_stream_of_an_older_attestation_of_its_key_ends() {
    open_stream_ends(true).await;
}
