//! An Envoy whose user has many connections open already.

use anyhow::Result;
use countersign_proto::admin::admin_client::AdminClient;
use countersign_proto::admin::{self, RegisterRequest};
use countersign_serve::limits::{CAPACITY_OF_USERS, ENVOYS_OF_A_UID};
use countersign_tests::control_plane::Settings;
use countersign_tests::mesh::node_id;
use countersign_tests::sidecar::Listeners;
use countersign_tests::{Envoy, Mesh, workload};

/// More streams than a connection has that is not among the first of its user.
const SECRETS: usize = 2 * CAPACITY_OF_USERS.streams as usize + 44;

#[tokio::test(flavor = "multi_thread")]
async fn an_envoy_with_many_secrets_is_served_beside_many_others() -> Result<()> {
    let mesh = Mesh::start(&Settings::default()).await?;
    let names = register(&mesh).await?;
    let sidecar = mesh.sidecar("a", &Listeners::default()).await?;
    sidecar.ready().await?;
    // Among the first of its user it has one connection for all streams.
    let first = Envoy::with_secrets(sidecar.folder(), &sidecar.socket(), &names)?;
    first.takes(SECRETS).await?;
    assert_eq!(connections(&first).await?, 1);
    let mut others = Vec::new();
    for _ in 1..ENVOYS_OF_A_UID {
        others.push(workload::fetch_x509_svid(&sidecar.socket()).await?);
    }
    // Beside them one needs more connections, and gets as much.
    let folder = tempfile::tempdir()?;
    let late = Envoy::with_secrets(folder.path(), &sidecar.socket(), &names)?;
    late.takes(SECRETS).await?;
    assert!(connections(&late).await? > 1);
    drop(others);
    Ok(())
}

/// How many it has open to its sidecar.
async fn connections(envoy: &Envoy) -> Result<u64> {
    envoy.statistic("cluster.sidecar.upstream_cx_active").await
}

/// Identities of this user on one node.
async fn register(mesh: &Mesh) -> Result<Vec<String>> {
    let socket = mesh.control_plane().folder().join("admin.sock");
    let mut admin = AdminClient::new(workload::channel(&socket)?);
    let own = rustix::process::geteuid().as_raw();
    let mut names = Vec::new();
    for number in 0..SECRETS {
        let id = format!("spiffe://example.org/many/{number}");
        let registration = admin::Registration {
            id: id.clone(),
            node: node_id("a"),
            selectors: vec![format!("unix:uid:{own}")],
            owner: "team-test".to_owned(),
            criticality: "standard".to_owned(),
            ..admin::Registration::default()
        };
        admin.register(RegisterRequest::whole(registration)).await?;
        names.push(id);
    }
    Ok(names)
}
