//! A whole `data_dir` that is put back from a copy: found by a certificate that it has forgotten,
//! told, and mended by a restore of itself.

use std::path::Path;
use std::process::Command;

use countersign_proto::mesh::Hello;
use rcgen::KeyPair;
use tonic::Code;

use crate::backups::{Vault, renewed, restore};
use crate::clocks::{get, obstacles};
use crate::harness::*;

/// A copy of a folder, as an operator makes one.
fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(copied.unwrap().success());
}

/// A control plane whose data was put back as it was before `then` happened.
async fn put_back<T>(plane: &mut Plane, then: impl AsyncFnOnce(&Plane) -> T) -> T {
    let data_dir = plane.folder().join("cp");
    let (saved, newest) = (plane.folder().join("copy"), plane.folder().join("newest"));
    plane.stop().await;
    copy(&data_dir, &saved);
    plane.restart().await;
    let happened = then(plane).await;
    plane.stop().await;
    std::fs::rename(&data_dir, &newest).unwrap();
    std::fs::rename(&saved, &data_dir).unwrap();
    plane.restart().await;
    happened
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_dir_put_back_is_found_told_and_mended() {
    let (mut plane, vault) = (Plane::start().await, Vault::new());
    let (node, other) = (plane.node(NODE_A).await, plane.node(NODE_B).await);
    let web = plane.register(WEB, NODE_B).await;
    let entitlement = web["entitlement"].as_str().unwrap();
    let node = put_back(&mut plane, async |plane| renewed(plane, &node).await).await;
    // What it issues before anybody comes takes the coordinates of what it has forgotten.
    let calls = other.dial(&plane).await;
    for _ in 0..8 {
        calls
            .enrol(entitlement, &KeyPair::generate().unwrap())
            .await
            .unwrap();
    }
    assert_eq!(obstacles(&plane).await, "[]");

    let forgotten = node.dial(&plane).await;
    let told = forgotten.discover(hello()).await.err().expect("no stream");
    assert_eq!(told.code(), Code::DataLoss, "{told}");
    let told = obstacles(&plane).await;
    assert!(
        told.contains("put back from a copy") && told.contains("countersign restore"),
        "{told}"
    );
    let ready = get(&plane, "/readyz").await;
    assert!(
        ready.contains("503") && ready.contains("put back"),
        "{ready}"
    );
    let metrics = get(&plane, "/metrics").await;
    let alarm = "countersign_alarms_total{kind=\"state_put_back\"} 1";
    assert!(metrics.contains(alarm), "{metrics}");
    // A restart forgets none of it, though nobody comes.
    plane.restart().await;
    assert_eq!(obstacles(&plane).await, told);
    assert!(get(&plane, "/readyz").await.contains("503"));
    assert!(get(&plane, "/metrics").await.contains(alarm));
    let calls = other.dial(&plane).await;
    let issued = plane.ask("status").await["svids_issued"].clone();
    let refused = calls
        .enrol(entitlement, &KeyPair::generate().unwrap())
        .await;
    assert_eq!(refused.unwrap_err().code(), Code::Unavailable);
    assert_eq!(plane.ask("status").await["svids_issued"], issued);

    vault.back_up(&plane, "").await;
    plane.stop().await;
    restore(&plane, &vault.file(), &vault.data_dir()).await;
    let mended = Plane::in_dir(&vault.data_dir()).await;
    assert_eq!(obstacles(&mended).await, "[]");
    for node in [&node, &other] {
        let calls = node.dial(&mended).await;
        calls.discover(hello()).await.unwrap();
        calls
            .enrol("node", &KeyPair::generate().unwrap())
            .await
            .unwrap();
    }
}

/// The alarms that stop nothing, as `countersign status` says.
async fn alarms(plane: &Plane) -> String {
    plane.ask("status").await["alarms"].to_string()
}

/// Nothing was certified since the copy, so that nobody can prove it.
#[tokio::test(flavor = "multi_thread")]
async fn registrations_put_back_are_an_alarm_until_they_are_mended() {
    let (mut plane, vault) = (Plane::start().await, Vault::new());
    let (node, honest) = (plane.node(NODE_A).await, plane.node(NODE_B).await);
    let seen = put_back(&mut plane, async |plane| {
        for n in 0..3 {
            plane.register(&format!("{WEB}-{n}"), NODE_A).await;
        }
        let status = plane.ask("status").await;
        Hello {
            epoch: status["epoch"].as_u64().unwrap(),
            sequence: status["sequence"].as_u64().unwrap(),
            ..hello()
        }
    })
    .await;
    assert_eq!(alarms(&plane).await, "[]");
    let calls = node.dial(&plane).await;
    calls.discover(seen).await.unwrap();
    until(async || alarms(&plane).await.contains(NODE_A)).await;
    let told = alarms(&plane).await;
    for part in ["newer_state_seen", "countersign restore", "node evict"] {
        assert!(told.contains(part), "{told}");
    }
    let text = plane.cli("status").await;
    assert!(
        String::from_utf8(text.stdout)
            .unwrap()
            .contains("\n- alarm: newer_state_seen: ")
    );
    // The word of a node stops nothing.
    assert_eq!(obstacles(&plane).await, "[]");
    let own = honest.dial(&plane).await;
    own.enrol("node", &KeyPair::generate().unwrap())
        .await
        .unwrap();

    for _ in 0..2 {
        let ready = get(&plane, "/readyz").await;
        assert!(
            ready.contains("200 OK") && ready.contains("degraded: newer_state_seen"),
            "{ready}"
        );
        let metrics = get(&plane, "/metrics").await;
        let alarm = "countersign_alarms_total{kind=\"newer_state_seen\"} 1";
        assert!(metrics.contains(alarm), "{metrics}");
        assert!(alarms(&plane).await.contains(NODE_A));
        plane.restart().await;
    }

    vault.back_up(&plane, "").await;
    restore(&plane, &vault.file(), &vault.data_dir()).await;
    let mended = Plane::in_dir(&vault.data_dir()).await;
    assert_eq!(alarms(&mended).await, "[]");
    plane
        .ask(&format!("node evict --node {NODE_A} --reason lied"))
        .await;
    assert_eq!(alarms(&plane).await, "[]");
    plane.restart().await;
    assert_eq!(alarms(&plane).await, "[]");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_proof_and_the_word_of_a_node_is_none() {
    let mut plane = Plane::start().await;
    let node = plane.node(NODE_A).await;
    let forgotten = put_back(&mut plane, async |plane| renewed(plane, &node).await).await;
    let stranger = Plane::start().await;
    let foreign = stranger.node(NODE_A).await;
    let calls = node.dial(&plane).await;
    let epoch = plane.ask("status").await["epoch"].as_u64().unwrap();
    let words = Hello {
        epoch,
        sequence: u64::MAX,
        ..hello()
    };
    let mut cut = forgotten.chain.clone();
    let last = cut[0].len() - 1;
    cut[0][last] ^= 1;
    for newest_chain in [foreign.chain, node.chain.clone(), cut, vec![vec![0; 8]; 5]] {
        let said = Hello {
            newest_chain,
            ..words.clone()
        };
        let mut stream = calls.discover(said).await.unwrap();
        stream.entitled().await;
        assert_eq!(obstacles(&plane).await, "[]");
    }
    let said = Hello {
        newest_chain: forgotten.chain.clone(),
        ..hello()
    };
    let mut stream = calls.discover(said).await.unwrap();
    assert_eq!(stream.ended().await.code(), Code::DataLoss);
    assert!(obstacles(&plane).await.contains("put back from a copy"));
}
