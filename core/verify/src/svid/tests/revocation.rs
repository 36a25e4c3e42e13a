//! CRLs: as soon as there is one, every issuer of the path needs one.

use std::slice::from_ref;

use rustls_pki_types::CertificateRevocationListDer;
use time::Duration;

use super::*;
use crate::pki::{Ca, WEB, leaf_params};

const SERIAL: u8 = 7;
const VALID: Duration = Duration::hours(1);

fn judge_with(crls: &[CertificateRevocationListDer<'_>]) -> Result<(), Refusal> {
    let world = World::shared();
    verify_svid(&world.chain(|_| {}), &world.bundles(), crls, now()).map(drop)
}

#[test]
fn a_listed_leaf_is_refused() {
    let world = World::shared();
    let root = || world.root.crl(&[], VALID);
    assert_eq!(
        judge_with(&[root(), world.issuing.crl(&[8], VALID)]),
        Ok(())
    );
    let listed = world.issuing.crl(&[SERIAL], VALID);
    assert_eq!(judge_with(&[root(), listed]), Err(Refusal::Revoked));
}

#[test]
fn an_issuer_without_crl_is_refused() {
    let world = World::shared();
    let (root, issuing) = (world.root.crl(&[], VALID), world.issuing.crl(&[], VALID));
    let unknown = Err(Refusal::UnknownRevocationStatus);
    assert_eq!(judge_with(from_ref(&root)), unknown);
    assert_eq!(judge_with(from_ref(&issuing)), unknown);
    assert_eq!(judge_with(&[root, issuing]), Ok(()));
}

#[test]
fn an_expired_crl_is_refused() {
    let world = World::shared();
    let old = world.issuing.crl(&[], Duration::seconds(-1));
    assert_eq!(
        judge_with(&[world.root.crl(&[], VALID), old]),
        Err(Refusal::CrlExpired)
    );
}

#[test]
fn a_crl_of_an_impostor_is_refused() {
    let world = World::shared();
    let forged = World::new("example.org").issuing.crl(&[], VALID);
    assert_eq!(
        judge_with(&[world.root.crl(&[], VALID), forged]),
        Err(Refusal::BadCrl)
    );
}

#[test]
fn a_root_signs_crls_only_if_it_may() {
    let judged = |usages: &[rcgen::KeyUsagePurpose]| {
        let root = Ca::root("crl root", |ca| ca.key_usages = usages.to_vec());
        let leaf = root.issue(&leaf_params(WEB), &World::shared().key);
        let bundles = crate::pki::bundles(&[("example.org", &root)]);
        let crl = Ca::unrestricted(&root).crl(&[], VALID);
        verify_svid(&[leaf], &bundles, &[crl], now()).map(drop)
    };
    use rcgen::KeyUsagePurpose::{CrlSign, KeyCertSign};
    assert_eq!(judged(&[KeyCertSign, CrlSign]), Ok(()));
    assert_eq!(judged(&[KeyCertSign]), Err(Refusal::BadCrl));
}

#[test]
fn malformed_crls_are_refused() {
    let world = World::shared();
    let junk = CertificateRevocationListDer::from(vec![0x30, 0x80]);
    let crls = [world.root.crl(&[], VALID), junk];
    assert_eq!(judge_with(&crls), Err(Refusal::MalformedCrl { index: 1 }));
}

#[test]
fn the_number_of_crls_is_bounded() {
    let world = World::shared();
    let mut crls = vec![world.issuing.crl(&[], VALID)];
    crls.resize(MAX_CRLS, world.root.crl(&[], VALID));
    assert_eq!(judge_with(&crls), Ok(()));
    crls.push(world.root.crl(&[], VALID));
    assert_eq!(judge_with(&crls), Err(Refusal::TooManyCrls { count: 65 }));
}
