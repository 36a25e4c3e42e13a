//! What a thief tries at the control plane.

use anyhow::{Context, Result, ensure};
use countersign_model::SpiffeId;
use countersign_tests::control_plane::Settings;
use countersign_tests::node::{self, Credential, NODE_ENTITLEMENT, Session};
use countersign_tests::sidecar::Listeners;
use countersign_tests::workload::Identity;
use countersign_tests::{Mesh, Registration, wait};
use rcgen::KeyPair;
use tonic::{Code, Status};

use crate::scene::WEB;

/// A mesh where node `a` holds `web`, and the name of that entitlement.
struct Scene {
    mesh: Mesh,
    bundle: String,
    entitlement: String,
}

impl Scene {
    async fn start() -> Result<Self> {
        let mesh = Mesh::start(&Settings::default()).await?;
        let registered = mesh.register(&Registration::new(WEB, "a")).await?;
        let entitlement = registered["entitlement"].as_str().context("entitlement")?;
        let show = ["bundle", "show", "--format", "pem"];
        let bundle = mesh.operator()?.text(&show).await?;
        Ok(Self {
            bundle,
            entitlement: entitlement.to_owned(),
            mesh,
        })
    }

    async fn token(&self, node: &str) -> Result<String> {
        let create = [
            "token",
            "create",
            "--node",
            &countersign_tests::mesh::node_id(node),
        ];
        self.mesh.operator()?.text(&create).await
    }

    async fn session(&self, credential: Credential) -> Result<Session> {
        Session::open(self.mesh.control_plane().api(), &self.bundle, credential).await
    }

    async fn join(&self, node: &str) -> Result<Credential> {
        let token = self.token(node).await?;
        node::join(self.mesh.control_plane().api(), &self.bundle, &token).await
    }

    async fn attest(&self, token: &str) -> Result<Result<(), Status>> {
        let session = self.session(None).await?;
        let proof = session.proof(NODE_ENTITLEMENT, &KeyPair::generate()?)?;
        Ok(session.attest(token, proof).await.map(drop))
    }

    /// Tries to enrol a key; a session that the control plane does not even open is a refusal.
    async fn enrol(&self, credential: Credential, entitlement: &str) -> Result<Result<(), Status>> {
        let session = match self.session(credential).await {
            Ok(session) => session,
            Err(error) => return Ok(Err(Status::unauthenticated(error.to_string()))),
        };
        let proof = session.proof(entitlement, &KeyPair::generate()?)?;
        Ok(session.enrol(entitlement, proof).await.map(drop))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rightful_node_is_served() -> Result<()> {
    let scene = Scene::start().await?;
    let credential = scene.join("a").await?;
    scene.enrol(credential.clone(), NODE_ENTITLEMENT).await??;
    scene.enrol(credential, &scene.entitlement).await??;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workload_svid_authenticates_nothing_at_the_control_plane() -> Result<()> {
    let scene = Scene::start().await?;
    let sidecar = scene.mesh.sidecar("a", &Listeners::default()).await?;
    sidecar.ready().await?;
    let web = Identity::follow(&sidecar.socket(), &SpiffeId::new(WEB)?).await?;
    for entitlement in [NODE_ENTITLEMENT, &scene.entitlement] {
        let outcome = scene.enrol(Some(web.key()), entitlement).await?;
        refused(
            &outcome,
            &[
                Code::Unauthenticated,
                Code::PermissionDenied,
                Code::Unavailable,
            ],
        )?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_enrols_without_a_certificate() -> Result<()> {
    let scene = Scene::start().await?;
    let outcome = scene.enrol(None, &scene.entitlement).await?;
    refused(&outcome, &[Code::Unauthenticated, Code::PermissionDenied])
}

/// `no_identity_is_granted_beyond_its_registration`
#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_node_gets_no_identity_of_another() -> Result<()> {
    let scene = Scene::start().await?;
    let foreign = scene.join("b").await?;
    let outcome = scene.enrol(foreign.clone(), &scene.entitlement).await?;
    refused(&outcome, &[Code::PermissionDenied, Code::NotFound])?;
    // A name that exists nowhere is refused in the same words.
    let unknown = format!("reg-{}", "0".repeat(32));
    let stranger = scene.enrol(foreign, &unknown).await?;
    let words =
        |outcome: Result<(), Status>| outcome.err().map(|s| (s.code(), s.message().to_owned()));
    ensure!(
        words(outcome.clone()) == words(stranger.clone()),
        "{outcome:?} {stranger:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_of_another_session_is_refused() -> Result<()> {
    let scene = Scene::start().await?;
    let credential = scene.join("a").await?;
    let first = scene.session(credential.clone()).await?;
    let proof = first.proof(&scene.entitlement, &KeyPair::generate()?)?;
    let second = scene.session(credential).await?;
    let outcome = second.enrol(&scene.entitlement, proof).await.map(drop);
    refused(
        &outcome,
        &[
            Code::PermissionDenied,
            Code::Unauthenticated,
            Code::InvalidArgument,
        ],
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_token_is_refused_in_the_same_words() -> Result<()> {
    let scene = Scene::start().await?;
    let used = scene.token("a").await?;
    scene.attest(&used).await??;
    let create = [
        "token",
        "create",
        "--node",
        "spiffe://example.org/node/b",
        "--ttl",
        "10s",
    ];
    let expired = scene.mesh.operator()?.text(&create).await?;
    let made = std::time::Instant::now();
    wait::until("the token's end", wait::BOUND, async || {
        (made.elapsed() > std::time::Duration::from_secs(11)).then_some(())
    })
    .await?;
    let mut words = std::collections::BTreeSet::new();
    for token in [used.as_str(), &expired, "unknown", &"x".repeat(200)] {
        let status = scene.attest(token).await?.err().context("was admitted")?;
        words.insert((status.code() as i32, status.message().to_owned()));
    }
    ensure!(words.len() == 1, "{words:?}");
    let log = scene.mesh.control_plane().process().log();
    ensure!(log.contains("127.0.0.1:"), "the log does not name the peer");
    ensure!(!log.contains(used.trim()), "the log holds a token");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connected_node_is_not_taken_over() -> Result<()> {
    let scene = Scene::start().await?;
    let sidecar = scene.mesh.sidecar("a", &Listeners::default()).await?;
    sidecar.ready().await?;
    let second = scene.token("a").await?;
    let outcome = scene.attest(&second).await?;
    refused(&outcome, &[Code::PermissionDenied, Code::Unauthenticated])
}

#[tokio::test(flavor = "multi_thread")]
async fn reserved_and_foreign_names_are_not_registered() -> Result<()> {
    let scene = Scene::start().await?;
    scene.join("a").await?;
    for id in [
        "spiffe://example.org/countersign/control-plane",
        "spiffe://example.org/node/a",
        "spiffe://elsewhere/web",
    ] {
        let arguments = [
            "register",
            "--id",
            id,
            "--node",
            "spiffe://example.org/node/a",
            "--selector",
            "unix:uid:0",
            "--owner",
            "thief",
            "--json",
        ];
        let answer = scene.mesh.operator()?.run(&arguments).await?;
        ensure!(matches!(answer.code, Some(1..=3)), "{id}: {answer:?}");
        ensure!(answer.error()?["remedy"].is_string(), "{id}: {answer:?}");
    }
    Ok(())
}

fn refused(outcome: &Result<(), Status>, codes: &[Code]) -> Result<()> {
    let status = outcome.as_ref().err().context("was not refused")?;
    ensure!(codes.contains(&status.code()), "{status:?}");
    Ok(())
}
