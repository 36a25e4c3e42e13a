//! The inventory as operators see it.

use rcgen::KeyPair;
use serde_json::Value;

use crate::harness::*;

async fn enrolled(plane: &Plane, times: usize) -> Vec<String> {
    let node = plane.node(NODE_A).await;
    let session = node.dial(plane).await;
    let registered = plane.register(WEB, NODE_A).await;
    let entitlement = registered["entitlement"].as_str().unwrap();
    let mut serials = Vec::new();
    for _ in 0..times {
        let key = KeyPair::generate().unwrap();
        let enrolled = session.enrol(entitlement, &key).await.unwrap();
        serials.push(hex::encode(enrolled.serial));
    }
    serials
}

fn ids(listed: &Value) -> Vec<&str> {
    let items = listed["items"].as_array().unwrap();
    items.iter().map(|it| it["id"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_line_for_an_identity_however_often_it_renews() {
    let mut plane = Plane::start().await;
    let serials = enrolled(&plane, 3).await;
    let listed = plane.ask("certs list --profile x509-svid").await;
    assert_eq!(ids(&listed), [NODE_A, WEB]);
    let web = &listed["items"][1];
    assert_eq!(web["certificates"], 3);
    assert_eq!(web["newest"]["serial"], serials[2].as_str());
    assert_eq!(
        (&web["owner"], &web["node"]),
        (&"me".into(), &NODE_A.into())
    );

    let shown = plane
        .ask(&format!("certs show {} --history 9", serials[2]))
        .await;
    let history: Vec<_> = shown["history"].as_array().unwrap().iter().collect();
    assert_eq!(history.len(), 2);
    assert_eq!(history[0]["serial"], serials[1].as_str());
    assert_eq!(shown["lineage"]["id"], WEB);
    plane.restart().await;
    let again = plane
        .ask(&format!("certs show {} --history 9", serials[2]))
        .await;
    assert_eq!(again, shown, "found in the log again");
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fingerprint_is_that_of_the_certificate() {
    let mut plane = Plane::start().await;
    let serials = enrolled(&plane, 1).await;
    let pem = plane.cli(&format!("certs show {} --pem", serials[0])).await;
    assert!(pem.status.success(), "{pem:?}");
    let (_, pem) = x509_parser::pem::parse_x509_pem(&pem.stdout).unwrap();
    let certificate = pem.parse_x509().unwrap();
    assert_eq!(hex::encode(certificate.raw_serial()), serials[0]);
    let shown = plane.ask(&format!("certs show {}", serials[0])).await;
    let digest = |bytes: &[u8]| {
        use sha2::Digest;
        hex::encode(sha2::Sha256::digest(bytes))
    };
    let facts = &shown["certificate"];
    assert_eq!(facts["sha256"], digest(&pem.contents).as_str());
    let spki = certificate.public_key().raw;
    assert_eq!(facts["spki_sha256"], digest(spki).as_str());
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_narrow_the_list_and_strangers_are_not_found() {
    let mut plane = Plane::start().await;
    let serials = enrolled(&plane, 1).await;
    for (filter, expected) in [
        ("--owner me", vec![WEB]),
        ("--owner nobody", vec![]),
        ("--under spiffe://example.org/we", vec![]),
        ("--under spiffe://example.org/node", vec![NODE_A]),
        (
            "--id spiffe://example.org/web --criticality standard",
            vec![WEB],
        ),
        ("--id spiffe://example.org/web --criticality low", vec![]),
        ("--id spiffe://example.org/web --ends-within 10s", vec![]),
        ("--id spiffe://example.org/web --state expired", vec![]),
    ] {
        let listed = plane.ask(&format!("certs list {filter}")).await;
        assert_eq!(ids(&listed), expected, "{filter}");
    }
    // As a table shortens it, and as `audit prove` takes it.
    let whole = &serials[0];
    for asked in [&format!("{}…", &whole[..16]), &format!("--serial {whole}")] {
        let shown = plane.ask(&format!("certs show {asked}")).await;
        assert_eq!(shown["certificate"]["serial"], whole.as_str(), "{asked}");
    }
    let ambiguous = plane
        .cli(&format!("certs show {} --json", &whole[..8]))
        .await;
    let told = String::from_utf8(ambiguous.stderr).unwrap();
    assert!(told.contains("serial_too_short"), "{told}");
    let unknown = plane.cli(&format!("certs show {}", "7f".repeat(16))).await;
    assert_eq!(unknown.status.code(), Some(3), "{unknown:?}");
    let wrong = plane.cli("certs show nonsense").await;
    assert_eq!(wrong.status.code(), Some(2), "{wrong:?}");
    plane.stop().await;
}
