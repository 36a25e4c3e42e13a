//! Signing by hand: requests made by OpenSSL, hostile ones, and what comes of them.

use std::path::{Path, PathBuf};

use countersign_proto::admin::SignRequest;
use serde_json::Value;
use tokio::process::Command;
use tonic::{Code, Status};

use crate::harness::*;

const PLC: &str = "spiffe://example.org/plc";
/// What a hostile request asks for.
const GREEDY: &str = "-subj /CN=admin -addext subjectAltName=URI:spiffe://example.org/admin,\
                      DNS:evil.example.org -addext basicConstraints=critical,CA:TRUE";
const P256: &str = "-newkey ec -pkeyopt ec_paramgen_curve:P-256";

/// Makes a key and a request by OpenSSL; gives the file of the request.
async fn openssl(folder: &Path, name: &str, options: &str) -> PathBuf {
    let request = folder.join(name).with_extension("csr");
    let mut command = Command::new("openssl");
    command
        .args(["req", "-new", "-nodes", "-out"])
        .arg(&request);
    command
        .arg("-keyout")
        .arg(folder.join(name).with_extension("key"));
    command.args(options.split_whitespace());
    let output = command.output().await.expect("openssl is installed");
    assert!(output.status.success(), "{options}: {output:?}");
    request
}

async fn plane_with_plc() -> (Plane, tempfile::TempDir) {
    let plane = Plane::start().await;
    plane
        .ask(&format!(
            "register --id {PLC} --by-hand --owner team-plant --dns plc.local"
        ))
        .await;
    (plane, tempfile::tempdir().unwrap())
}

async fn sign(plane: &Plane, request: &Path, out: &Path) -> Value {
    let (request, out) = (request.display(), out.display());
    plane
        .ask(&format!("sign --id {PLC} --csr {request} --out {out}"))
        .await
}

/// The code on stderr of a verb that must fail with this exit.
async fn refused(plane: &Plane, line: &str, exit: i32) -> Value {
    let output = plane.cli(&format!("{line} --json")).await;
    assert_eq!(output.status.code(), Some(exit), "{line}: {output:?}");
    let error: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert!(
        error["error"]["remedy"]
            .as_str()
            .is_some_and(|it| !it.is_empty()),
        "{error}"
    );
    error["error"]["code"].clone()
}

async fn text_of(certificate: &Path) -> String {
    let mut command = Command::new("openssl");
    command
        .args(["x509", "-noout", "-text", "-in"])
        .arg(certificate);
    let output = command.output().await.unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_only_a_key() {
    let (plane, folder) = plane_with_plc().await;
    let request = openssl(folder.path(), "plc", &format!("{P256} {GREEDY}")).await;
    let out = folder.path().join("plc.pem");
    let signed = sign(&plane, &request, &out).await;
    assert_eq!(signed["path"].as_str(), out.to_str());
    assert_eq!(
        signed["pem"].as_str(),
        Some(&*std::fs::read_to_string(&out).unwrap())
    );
    let text = text_of(&out).await;
    assert!(
        text.contains("URI:spiffe://example.org/plc, DNS:plc.local"),
        "{text}"
    );
    for asked in ["admin", "evil", "CA:TRUE"] {
        assert!(!text.contains(asked), "{asked} in {text}");
    }
    let bundle = folder.path().join("bundle");
    std::fs::write(&bundle, plane.bundle().await.to_pem()).unwrap();
    let files = format!("--bundle {} --chain {}", bundle.display(), out.display());
    let verdict = plane.ask(&format!("verify {files}")).await;
    assert_eq!(
        (&verdict["accepted"], &verdict["id"]),
        (&true.into(), &PLC.into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keys_that_others_make_are_signed() {
    let (plane, folder) = plane_with_plc().await;
    for (name, options) in [
        ("p384-sha256", "-newkey ec -pkeyopt ec_paramgen_curve:P-384"),
        (
            "p256-sha384",
            "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -sha384",
        ),
        ("rsa", "-newkey rsa:2048"),
        (
            "rsa-pss",
            "-newkey rsa:2048 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:-1",
        ),
        (
            "der",
            "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -outform DER",
        ),
        (
            "keytool",
            "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -newhdr",
        ),
    ] {
        let request = openssl(folder.path(), name, &format!("{options} -subj /CN=x")).await;
        let out = folder.path().join(format!("{name}.pem"));
        sign(&plane, &request, &out).await;
        let key = folder.path().join(name).with_extension("key");
        let of_key = Command::new("openssl")
            .args(["pkey", "-pubout", "-in"])
            .arg(key)
            .output();
        let of_leaf = Command::new("openssl")
            .args(["x509", "-noout", "-pubkey", "-in"])
            .arg(&out)
            .output();
        assert_eq!(
            of_key.await.unwrap().stdout,
            of_leaf.await.unwrap().stdout,
            "{name}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_request_names_its_rule() {
    let (plane, folder) = plane_with_plc().await;
    for (name, options, code) in [
        (
            "p521",
            "-newkey ec -pkeyopt ec_paramgen_curve:P-521",
            "csr_key_kind",
        ),
        (
            "k1",
            "-newkey ec -pkeyopt ec_paramgen_curve:secp256k1",
            "csr_key_kind",
        ),
        ("ed25519", "-newkey ed25519", "csr_key_kind"),
        ("rsa1024", "-newkey rsa:1024", "csr_key_kind"),
        ("sha1", "-newkey rsa:2048 -sha1", "csr_signature_algorithm"),
    ] {
        let request = openssl(folder.path(), name, &format!("{options} -subj /CN=x")).await;
        let line = format!("sign --id {PLC} --csr {} --out -", request.display());
        assert_eq!(refused(&plane, &line, 2).await, code, "{name}");
    }
    let huge = folder.path().join("huge");
    std::fs::write(&huge, vec![0x30; 10 << 20]).unwrap();
    let line = format!("sign --id {PLC} --csr {} --out -", huge.display());
    assert_eq!(refused(&plane, &line, 2).await, "csr_too_large");
    let request = openssl(folder.path(), "good", &format!("{P256} -subj /CN=x")).await;
    let (good, none) = (request.display(), folder.path().join("none/chain"));
    let unwritable = format!("sign --id {PLC} --csr {good} --out {}", none.display());
    assert_eq!(refused(&plane, &unwritable, 2).await, "chain_not_written");
    let unreadable = format!("sign --id {PLC} --csr {} --out -", none.display());
    assert_eq!(refused(&plane, &unreadable, 2).await, "csr_unreadable");
    let line = format!("sign --id spiffe://example.org/none --csr {good} --out -");
    assert_eq!(refused(&plane, &line, 3).await, "not_by_hand");
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_bytes_on_the_socket_are_invalid_arguments() {
    let (plane, folder) = plane_with_plc().await;
    let request = openssl(
        folder.path(),
        "good",
        &format!("{P256} -subj /CN=x -outform DER"),
    )
    .await;
    let good = std::fs::read(request).unwrap();
    let mut admin = plane.admin().await;
    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let nested: Vec<u8> = std::iter::repeat_n([0x30, 0x80], 4_000).flatten().collect();
    for (csr, code) in [
        (Vec::new(), "csr_pem"),
        (vec![0; 3_000_000], "csr_too_large"),
        (vec![0x30; 10_000_000], "csr_too_large"),
        (nested, "csr_not_der"),
        ([&*good, b"\0"].concat(), "csr_trailing_bytes"),
        (good[..good.len() - 1].to_vec(), "csr_not_der"),
        (flipped, "csr_signature_invalid"),
        (b"\x1b[2J'; DROP TABLE entries; --".to_vec(), "csr_pem"),
    ] {
        let id = PLC.to_owned();
        let refused = admin.sign(SignRequest { id, csr }).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{code}: {refused:?}");
        assert_eq!(told(&refused), code, "{refused:?}");
    }
    let id = PLC.to_owned();
    admin.sign(SignRequest { id, csr: good }).await.unwrap();
}

/// Refusals are gathered for a minute; an operator is named by the uid of the socket.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_request_reaches_the_issuance_log() {
    let (plane, folder) = plane_with_plc().await;
    let options = "-newkey ec -pkeyopt ec_paramgen_curve:P-521 -subj /CN=x";
    let request = openssl(folder.path(), "p521", options).await;
    let line = format!("sign --id {PLC} --csr {} --out -", request.display());
    for _ in 0..3 {
        assert_eq!(refused(&plane, &line, 2).await, "csr_key_kind");
    }
    let foreign = line.replace("/plc", "/none");
    let good = openssl(folder.path(), "good", &format!("{P256} -subj /CN=x")).await;
    let foreign = foreign.replace(&*request.to_string_lossy(), &good.to_string_lossy());
    assert_eq!(refused(&plane, &foreign, 3).await, "not_by_hand");
    plane.advance(61);
    let log = plane.folder().join("cp/log");
    let tail = format!("audit tail -n 1000 --log {}", log.display());
    let mut told = Vec::new();
    until(async || {
        let items = plane.ask(&tail).await["items"].take();
        let items = items.as_array().expect("items").iter();
        told = items
            .filter(|it| it["kind"] == "refused")
            .cloned()
            .collect();
        told.len() == 2
    })
    .await;
    let caller = format!("operator uid {}", rustix::process::geteuid().as_raw());
    for (entry, code, count) in [
        (&told[0], "csr_key_kind", "3"),
        (&told[1], "not_by_hand", "1"),
    ] {
        assert_eq!(entry["caller"], *caller, "{entry}");
        assert_eq!(
            (&entry["code"], &entry["count"]),
            (&code.into(), &count.into())
        );
    }
    let text = plane.cli(&tail).await.stdout;
    let text = String::from_utf8(text).unwrap();
    let shown = format!("refused caller={caller:?} code=\"csr_key_kind\" count=\"3\"");
    assert!(text.contains(&shown), "{text}");
}

fn told(status: &Status) -> &str {
    let code = status.metadata().get("countersign-code");
    code.and_then(|code| code.to_str().ok()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_is_answered_alike() {
    let (mut plane, folder) = plane_with_plc().await;
    let request = openssl(folder.path(), "plc", &format!("{P256} -subj /CN=x")).await;
    let out = folder.path().join("plc.pem");
    let first = sign(&plane, &request, &out).await;
    plane.restart().await;
    let second = sign(&plane, &request, &out).await;
    assert_eq!(
        (&first["serial"], &first["not_after"]),
        (&second["serial"], &second["not_after"])
    );
    plane
        .ask("register --id spiffe://example.org/other --by-hand --owner me")
        .await;
    let stolen = format!(
        "sign --id spiffe://example.org/other --csr {} --out -",
        request.display()
    );
    assert_eq!(refused(&plane, &stolen, 3).await, "key_in_use");
    let removed = plane.ask(&format!("unregister --id {PLC}")).await;
    assert_eq!(removed["valid_until"], first["not_after"]);
    let line = format!("sign --id {PLC} --csr {} --out -", request.display());
    assert_eq!(refused(&plane, &line, 3).await, "not_by_hand");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_flows_through_pipes() {
    let (plane, folder) = plane_with_plc().await;
    let request = openssl(folder.path(), "plc", &format!("{P256} -subj /CN=x")).await;
    let mut command = Command::new(countersign());
    command.args([
        "sign",
        "--id",
        PLC,
        "--csr",
        "-",
        "--out",
        "-",
        "--admin-socket",
    ]);
    command.arg(plane.socket());
    command.stdin(std::fs::File::open(&request).unwrap());
    let output = tokio::time::timeout(BOUND, command.output())
        .await
        .unwrap()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let chain = folder.path().join("chain");
    std::fs::write(&chain, &output.stdout).unwrap();
    assert!(text_of(&chain).await.contains(PLC));
    let blocks = String::from_utf8(output.stdout).unwrap();
    assert_eq!(blocks.matches("BEGIN CERTIFICATE").count(), 2);
}
