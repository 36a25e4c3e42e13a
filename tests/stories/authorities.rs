//! CAs whose keys are elsewhere: a root that is offline, a token that comes and goes.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use countersign_proto::workload::X509svidResponse;
use countersign_tests::control_plane::Settings;
use countersign_tests::sidecar::Listeners;
use countersign_tests::workload::{certificates, fetch_x509_svid, to_pem};
use countersign_tests::{Command, Mesh, Registration, Sidecar, fetch, wait};
use serde_json::Value;
use tonic::Streaming;

use crate::scene::WEB;

/// What the offline CA puts into an intermediate.
const EXTENSIONS: &str = "basicConstraints = critical, CA:TRUE, pathlen:1\n\
    keyUsage = critical, keyCertSign, cRLSign\n\
    subjectKeyIdentifier = hash\n\
    authorityKeyIdentifier = keyid\n\
    subjectAltName = URI:spiffe://example.org\n";
const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
const PIN: &str = "314159";

/// A root in a folder of its own, used with OpenSSL's command line.
struct Offline(PathBuf);

impl Offline {
    async fn new(folder: &Path, name: &str) -> Result<Self> {
        let root = Self(folder.join(name));
        std::fs::create_dir_all(&root.0)?;
        std::fs::write(root.0.join("extensions"), EXTENSIONS)?;
        root.openssl(&format!(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-384 -nodes -days 3650 \
             -subj /O=ACME/CN={name} -keyout root.key -out root.pem \
             -addext basicConstraints=critical,CA:TRUE \
             -addext keyUsage=critical,keyCertSign,cRLSign"
        ))
        .await?;
        Ok(root)
    }

    async fn sign(&self, request: &Path) -> Result<()> {
        std::fs::copy(request, self.0.join("request.pem"))?;
        self.openssl(
            "x509 -req -in request.pem -CA root.pem -CAkey root.key -CAcreateserial -days 365 \
             -sha384 -extfile extensions -out intermediate.pem",
        )
        .await
    }

    /// Runs OpenSSL in the folder of the root.
    async fn openssl(&self, line: &str) -> Result<()> {
        let folder = self.0.to_string_lossy().into_owned();
        let mut arguments = vec!["-C", &folder, "openssl"];
        arguments.extend(line.split_whitespace());
        Command::new("env".into()).text(&arguments).await.map(drop)
    }

    /// Imports a certificate of this folder; what came of it, or the error.
    async fn import(&self, operator: &Command, chain: &str) -> Result<Value> {
        let path = |name: &str| self.0.join(name).to_string_lossy().into_owned();
        let (chain, root) = (path(chain), path("root.pem"));
        let import = ["ca", "import", "--chain", &chain, "--root", &root, "--json"];
        let answer = operator.run(&import).await?;
        match answer.code {
            Some(0) => Ok(serde_json::from_str(&answer.stdout)?),
            _ => answer.error(),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn root_may_be_offline() -> Result<()> {
    let settings = Settings {
        ca: "[ca]\nroot = \"external\"\n".to_owned(),
        ..Settings::default()
    };
    let mesh = Mesh::launch(&settings)?;
    let operator = mesh.operator()?;
    let status = not_ready(&mesh, "ca csr").await?;
    ensure!(status["issuing"] == serde_json::json!([]), "{status}");
    let refused = operator.run(&["bundle", "show", "--json"]).await?;
    ensure!(refused.error()?["code"] == "no_root", "{refused:?}");

    let request = mesh.folder().join("intermediate.csr");
    let csr = ["ca", "csr", "--out", &request.to_string_lossy()];
    let first = operator.json(&csr).await?;
    ensure!(
        operator.json(&csr).await?["key_id"] == first["key_id"],
        "asked twice, two keys"
    );
    let root = Offline::new(mesh.folder(), "root").await?;
    let early = early_sidecar(&mesh, &root).await?;
    root.sign(&request).await?;
    let wrong = root.import(&operator, "root.pem").await?;
    ensure!(wrong["code"] == "import_other_key", "{wrong:?}");
    let imported = root.import(&operator, "intermediate.pem").await?;
    ensure!(imported["intermediate"]["state"] == "active", "{imported}");
    mesh.control_plane().ready().await?;
    early.ready().await?;

    mesh.register(&Registration::new(WEB, "a")).await?;
    let sidecar = mesh.sidecar("a", &Listeners::default()).await?;
    sidecar.ready().await?;
    // It stays open: a workload that went away holds a root back until its certificate expires.
    let mut workload = fetch_x509_svid(&sidecar.socket()).await?;
    let subjects = accepted_chain(&mesh, &mut workload).await?;
    ensure!(
        subjects.len() == 3,
        "leaf, issuing, intermediate: {subjects:?}"
    );
    ensure!(
        subjects[1].starts_with("CN=Countersign Issuing CA"),
        "{subjects:?}"
    );
    ensure!(
        subjects[2].starts_with("CN=Countersign Sub CA"),
        "{subjects:?}"
    );
    judged_by_openssl(&mesh, &root).await?;

    // Another root: everybody hears of it before it is used.
    let next = Offline::new(mesh.folder(), "next").await?;
    operator.json(&csr).await?;
    next.sign(&request).await?;
    let prepared = next.import(&operator, "intermediate.pem").await?;
    ensure!(
        prepared["intermediate"]["state"] == "prepared",
        "{prepared}"
    );
    let key_id = prepared["intermediate"]["key_id"].clone();
    wait::until("the next root is active", wait::BOUND, async || {
        let status = operator.json(&["ca", "status"]).await.ok()?;
        let newest = &status["intermediates"][0];
        (newest["key_id"] == key_id && newest["state"] == "active").then_some(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn tiers_may_live_in_different_stores() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let token = token(folder.path()).await?;
    let mut mesh = Mesh::start(&token).await?;
    let operator = mesh.operator()?;
    let stores = |status: &Value| {
        ["roots", "intermediates", "issuing"].map(|tier| status[tier][0]["store"].clone())
    };
    let status = operator.json(&["ca", "status"]).await?;
    ensure!(stores(&status) == ["disk", "pkcs11", "memory"], "{status}");
    mesh.register(&Registration::new(WEB, "a")).await?;
    let sidecar = mesh.sidecar("a", &Listeners::default()).await?;
    sidecar.ready().await?;
    let mut workload = fetch_x509_svid(&sidecar.socket()).await?;
    ensure!(
        accepted_chain(&mesh, &mut workload).await?.len() == 3,
        "no intermediate"
    );

    // The token goes away: what must be signed with it waits.
    let (tokens, away) = (folder.path().join("tokens"), folder.path().join("away"));
    let pulled = tokens.read_dir()?.next().context("a token")??.path();
    std::fs::rename(&pulled, &away)?;
    is_in(&mesh, "token_absent").await?;
    let refused = operator.run(&["ca", "rotate-issuing", "--json"]).await?;
    ensure!(refused.code == Some(4), "{refused:?}");
    ensure!(refused.error()?["code"] == "unavailable", "{refused:?}");
    // It comes back, and nothing has to be told.
    std::fs::rename(&away, &pulled)?;
    is_in(&mesh, "ready").await?;
    operator.json(&["ca", "rotate-issuing"]).await?;

    let bundle = operator.text(&["bundle", "show"]).await?;
    let before = operator.json(&["ca", "status"]).await?;
    let process = mesh.control_plane().process();
    process.terminate(wait::BOUND).await?;
    mesh.control_plane_mut().start_again().await?;
    let after = operator.json(&["ca", "status"]).await?;
    ensure!(after["intermediates"] == before["intermediates"], "{after}");
    let newest = |status: &Value| status["issuing"][0]["key_id"].clone();
    ensure!(newest(&after) != newest(&before), "the key was in memory");
    ensure!(
        operator.text(&["bundle", "show"]).await? == bundle,
        "another root"
    );
    let log = mesh.control_plane().process().log();
    ensure!(!log.contains(PIN), "the PIN is in the log");
    Ok(())
}

/// A SoftHSM2 token in a folder, and the control plane that keeps its intermediate there.
async fn token(folder: &Path) -> Result<Settings> {
    let (tokens, conf) = (folder.join("tokens"), folder.join("softhsm2.conf"));
    let pin = folder.join("pin");
    std::fs::create_dir_all(&tokens)?;
    std::fs::write(
        &conf,
        format!("directories.tokendir = {}\n", tokens.display()),
    )?;
    std::fs::write(&pin, PIN)?;
    let owner_only = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&pin, owner_only)?;
    let environment = format!("SOFTHSM2_CONF={}", conf.display());
    let init = "softhsm2-util --init-token --free --label mesh --so-pin 271828 --pin";
    let mut arguments = vec![environment.as_str()];
    arguments.extend(init.split(' '));
    arguments.push(PIN);
    Command::new("env".into()).text(&arguments).await?;
    let ca = format!(
        "[ca]\nintermediate = true\n[ca.keys]\nintermediate = \"pkcs11\"\nissuing = \"memory\"\n\
         [ca.pkcs11]\nmodule = \"{MODULE}\"\ntoken = \"mesh\"\npin_file = {pin:?}\n"
    );
    Ok(Settings {
        ca,
        environment: vec![environment],
        ..Settings::default()
    })
}

/// Waits until `/readyz` says no for a reason, and gives `ca status`.
async fn not_ready(mesh: &Mesh, reason: &str) -> Result<Value> {
    let telemetry = mesh.control_plane().telemetry();
    wait::until("a reason not to be ready", wait::BOUND, async || {
        let (status, body) = fetch::get(telemetry, "/readyz").await.ok()?;
        (status.as_u16() == 503 && body.contains(reason)).then_some(())
    })
    .await?;
    mesh.operator()?.json(&["ca", "status"]).await
}

/// Starts a sidecar before there is a CA: it is told of the root, and says what it waits for.
async fn early_sidecar(mesh: &Mesh, root: &Offline) -> Result<Sidecar> {
    let (folder, operator) = (mesh.folder().join("early"), mesh.operator()?);
    std::fs::create_dir_all(&folder)?;
    let token = folder.join("token").display().to_string();
    let node = "spiffe://example.org/node/early";
    let create = ["token", "create", "--node", node, "--out", &token];
    operator.text(&create).await?;
    std::fs::copy(root.0.join("root.pem"), folder.join("bundle.pem"))?;
    let api = mesh.control_plane().api();
    let sidecar = Sidecar::start(&folder, api, &Listeners::default())?;
    wait::until("what the sidecar waits for", wait::BOUND, async || {
        let status = sidecar.status().await.ok()?.to_string();
        let is_told = status.contains("no CA that can sign") && status.contains("ca status");
        is_told.then_some(())
    })
    .await?;
    let status = operator.json(&["status"]).await?["obstacles"].to_string();
    ensure!(status.contains("ca import"), "{status}");
    Ok(sidecar)
}

/// Waits until the token is in a state, in `ca status` and as a metric.
async fn is_in(mesh: &Mesh, state: &str) -> Result<()> {
    let operator = mesh.operator()?;
    let telemetry = mesh.control_plane().telemetry();
    let series = format!("countersign_keystore_state{{store=\"pkcs11\",state=\"{state}\"}} 1");
    wait::until("the state of the token", wait::BOUND, async || {
        let status = operator.json(&["ca", "status"]).await.ok()?;
        let stores = status["key_stores"].as_array()?;
        let token = stores.iter().find(|it| it["store"] == "pkcs11")?;
        let (_, metrics) = fetch::get(telemetry, "/metrics").await.ok()?;
        (token["state"] == state && metrics.contains(&series)).then_some(())
    })
    .await
}

/// Takes the next SVID of a workload, has `countersign verify` judge it, and gives the subjects of
/// its chain.
async fn accepted_chain(
    mesh: &Mesh,
    workload: &mut Streaming<X509svidResponse>,
) -> Result<Vec<String>> {
    let answer = workload.message().await?.context("no answer")?;
    let chain = certificates(&answer.svids[0].x509_svid)?;
    let (leaf, above) = (
        mesh.folder().join("svid.pem"),
        mesh.folder().join("above.pem"),
    );
    std::fs::write(&leaf, to_pem(&chain))?;
    std::fs::write(&above, to_pem(&chain[1..]))?;
    let bundle = mesh.folder().join("bundle.pem");
    let operator = mesh.operator()?;
    std::fs::write(&bundle, operator.text(&["bundle", "show"]).await?)?;
    let (leaf, bundle) = (leaf.to_string_lossy(), bundle.to_string_lossy());
    let verify = ["verify", "--bundle", &bundle, "--chain", &leaf];
    let verdict = operator.json(&verify).await?;
    ensure!(
        verdict["accepted"] == true && verdict["id"] == WEB,
        "{verdict}"
    );
    let subject = |der: &[u8]| -> Result<String> {
        let (_, parsed) = x509_parser::parse_x509_certificate(der)?;
        Ok(parsed.subject().to_string())
    };
    chain.iter().map(|der| subject(der)).collect()
}

/// Another verifier, which also compares key identifiers.
async fn judged_by_openssl(mesh: &Mesh, root: &Offline) -> Result<()> {
    let path = |name: &str| mesh.folder().join(name).to_string_lossy().into_owned();
    let (leaf, above) = (path("svid.pem"), path("above.pem"));
    root.openssl(&format!(
        "verify -x509_strict -CAfile root.pem -untrusted {above} {leaf}"
    ))
    .await
}
