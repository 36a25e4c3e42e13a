//! A root that is not ours: asked, imported, changed, renewed.

use countersign_fleet::gate::GateOpen;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, CertifiedIssuer, DnType,
    IsCa, KeyIdMethod, KeyUsagePurpose,
};
use rustls_pki_types::CertificateDer;

use super::super::{SlotState, StoreKind};
use super::*;

pub(super) const YEAR: i64 = 365 * 86_400;

pub(super) fn external(settings: &mut Settings) {
    settings.hierarchy.root = None;
    settings.hierarchy.intermediate = Some((StoreKind::Disk, Duration::from_secs(86_400)));
}

/// A root in somebody else's hands.
pub(super) struct Offline(CertifiedIssuer<'static, KeyPair>);

impl Offline {
    pub(super) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        (params.not_before, params.not_after) = (at(-YEAR), at(20 * YEAR));
        Self(CertifiedIssuer::self_signed(params, fresh_key()).unwrap())
    }

    pub(super) fn certificate(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    pub(super) fn sign(&self, request: &str, secs: i64) -> CertificateDer<'static> {
        let mut asked = CertificateSigningRequestParams::from_pem(request).unwrap();
        (asked.params.not_before, asked.params.not_after) = (at(-60), at(secs));
        // Others hash the key in another way than we do.
        asked.params.key_identifier_method = KeyIdMethod::PreSpecified(vec![7; 20]);
        asked.params.use_authority_key_identifier_extension = true;
        asked.signed_by(&self.0).unwrap().der().clone()
    }
}

fn at(secs: i64) -> time::OffsetDateTime {
    time::OffsetDateTime::from_unix_timestamp(after(secs).as_second()).unwrap()
}

async fn begun() -> (Plane, Offline) {
    let plane = Plane::with(external).await;
    let root = Offline::new("Offline Root");
    let request = plane.authority.ca_request().await.unwrap();
    let signed = root.sign(&request.pem, YEAR);
    let imported = plane
        .authority
        .import_ca(vec![signed], root.certificate(), after(1));
    assert_eq!(imported.await.unwrap().state, SlotState::Active);
    (plane, root)
}

#[tokio::test]
async fn mesh_starts_under_a_root_that_the_user_brings() {
    let plane = Plane::with(external).await;
    assert!(plane.authority.first_bundle().is_none());
    assert!(!plane.authority.obstacles(start()).is_empty());
    let refused = plane.authority.server_identity(start()).await;
    assert!(matches!(refused, Err(AuthorityError::Unavailable(_))));
    let first = plane.authority.ca_request().await.unwrap();
    let plane = plane.restart(after(1)).await;
    let again = plane.authority.ca_request().await.unwrap();
    assert_eq!(first.key_id, again.key_id, "asked twice, one key");

    let root = Offline::new("Offline Root");
    let signed = root.sign(&first.pem, YEAR);
    let chain = vec![signed.clone(), root.certificate()];
    let import = plane
        .authority
        .import_ca(chain, root.certificate(), after(2));
    let imported = import.await.unwrap();
    assert_eq!(imported.key_id, first.key_id);
    assert!(plane.authority.obstacles(after(2)).is_empty());
    let plane = plane.restart(after(3)).await;
    let node = plane.attest("/node/a").await;
    let svid = plane.enrol(&node, &EntitlementId::node()).await;
    assert_eq!((svid.chain().len(), &svid.chain()[2]), (3, &signed));
    certificates::verify(&plane, &svid.chain(), after(4));
    assert_eq!(plane.authority.bundle().0.roots(), [root.certificate()]);
    let roots = plane.authority.tiers().roots;
    assert_eq!(roots[0].subject, "CN=Offline Root");
    assert_eq!(roots[0].store, None);
}

#[tokio::test]
async fn import_again_changes_nothing() {
    let (plane, root) = begun().await;
    let intermediate = plane.authority.tiers().intermediates.remove(0);
    let issued = plane.authority.issued_total();
    let chain = vec![intermediate.certificate.clone()];
    let import = plane
        .authority
        .import_ca(chain, root.certificate(), after(2));
    assert_eq!(import.await.unwrap().key_id, intermediate.key_id);
    assert_eq!(plane.authority.issued_total(), issued);
}

#[tokio::test]
async fn successor_under_the_same_root_signs_at_once() {
    let (plane, root) = begun().await;
    let bundle = plane.authority.bundle();
    let old = plane.authority.tiers().intermediates.remove(0);
    let request = plane.authority.ca_request().await.unwrap();
    assert_ne!(request.key_id, old.key_id, "a new key");
    let signed = root.sign(&request.pem, 2 * YEAR);
    let import = plane
        .authority
        .import_ca(vec![signed.clone()], root.certificate(), after(2));
    import.await.unwrap();
    assert_eq!(plane.authority.bundle().1, bundle.1);
    let node = plane.attest("/node/a").await;
    let svid = plane.enrol(&node, &EntitlementId::node()).await;
    assert_eq!(svid.chain()[2], signed);
    certificates::verify(&plane, &svid.chain(), after(3));
    let refused = plane
        .authority
        .import_ca(vec![root.certificate()], root.certificate(), after(3));
    assert_eq!(code(refused.await), "no_request");
}

#[tokio::test]
async fn other_root_waits_for_its_gate() {
    let (plane, _) = begun().await;
    let before = plane.authority.tiers();
    let other = Offline::new("Next Root");
    let request = plane.authority.ca_request().await.unwrap();
    let signed = other.sign(&request.pem, YEAR);
    let import = plane
        .authority
        .import_ca(vec![signed.clone()], other.certificate(), after(2));
    assert_eq!(import.await.unwrap().state, SlotState::Prepared);
    assert_eq!(plane.authority.bundle().0.roots().len(), 2);
    let node = plane.attest("/node/a").await;
    let meanwhile = plane.enrol(&node, &EntitlementId::node()).await;
    assert_eq!(meanwhile.chain()[2], before.intermediates[0].certificate);

    let plane = plane.restart(after(3)).await;
    let bundle = plane.authority.bundle().0.version().to_owned();
    let gate = GateOpen::for_test(&bundle);
    plane.authority.activate_root(gate, after(4)).await.unwrap();
    let node = plane.attest("/node/b").await;
    let svid = plane.enrol(&node, &EntitlementId::node()).await;
    assert_eq!(svid.chain()[2], signed);
    for chain in [&meanwhile.chain(), &svid.chain()] {
        certificates::verify(&plane, chain, after(5));
    }
    assert_eq!(plane.authority.tiers().roots[0].subject, "CN=Next Root");
}

#[tokio::test]
async fn own_root_gives_way_to_a_foreign_one() {
    let plane = Plane::new().await;
    let plane = plane.changed(external, after(1)).await;
    assert_eq!(
        code(plane.authority.prepare_root(after(1)).await),
        "root_external"
    );
    let root = Offline::new("Offline Root");
    let request = plane.authority.ca_request().await.unwrap();
    let signed = root.sign(&request.pem, YEAR);
    let import = plane
        .authority
        .import_ca(vec![signed], root.certificate(), after(2));
    assert_eq!(import.await.unwrap().state, SlotState::Prepared);
    let bundle = plane.authority.bundle().0.version().to_owned();
    let gate = GateOpen::for_test(&bundle);
    plane.authority.activate_root(gate, after(3)).await.unwrap();
    let node = plane.attest("/node/a").await;
    let svid = plane.enrol(&node, &EntitlementId::node()).await;
    certificates::verify(&plane, &svid.chain(), after(4));
    let keys = plane.dir.path().join("cp/keys").read_dir().unwrap().count();
    assert_eq!(
        keys, 2,
        "intermediate and issuing: the old root's is destroyed"
    );
}

#[tokio::test]
async fn embedded_root_asks_nobody() {
    let plane = Plane::new().await;
    assert_eq!(code(plane.authority.ca_request().await), "root_embedded");
}

#[tokio::test]
async fn intermediate_near_its_end_is_spoken_of() {
    let (plane, _) = begun().await;
    let renew_by = plane.authority.tiers().intermediates[0].renew_by.unwrap();
    let expected = after(1 + (YEAR - 1) * 2 / 3);
    assert_eq!(renew_by.as_second(), expected.as_second());
    let reminded = || plane.authority.hierarchy.reminded_of();
    plane.authority.tick(after(YEAR / 2)).await.unwrap();
    assert_eq!(reminded(), None);
    plane.authority.tick(after(YEAR * 3 / 4)).await.unwrap();
    assert_eq!(
        reminded(),
        Some(plane.authority.tiers().intermediates[0].key_id.clone())
    );
}
