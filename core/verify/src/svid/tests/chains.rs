//! Limits, and paths that lead to the wrong root or to none.

use super::*;
use crate::pki::{Ca, WEB, bundles, leaf_params, trust_domain, uri};

#[test]
fn an_empty_chain_is_refused() {
    assert_eq!(judge(&[]), Err(Refusal::EmptyChain));
}

#[test]
fn a_fifth_certificate_is_refused() {
    let world = World::shared();
    let mut chain = world.chain(|_| {});
    chain.resize(MAX_CHAIN_CERTIFICATES, world.root.der.clone());
    assert!(judge(&chain).is_ok());
    chain.push(world.root.der.clone());
    assert_eq!(
        judge(&chain),
        Err(Refusal::TooManyCertificates { count: 5 })
    );
}

#[test]
fn more_than_sixteen_kilobytes_are_refused() {
    let padded = |bytes: usize| {
        let padding = crate::pki::extension(&[1, 2, 3], false, &vec![0; bytes]);
        World::shared().chain(|leaf| leaf.custom_extensions = vec![padding])
    };
    let overhead = padded(10_000).iter().map(|der| der.len()).sum::<usize>() - 10_000;
    let fill = MAX_CHAIN_BYTES - overhead - 8;
    assert!(judge(&padded(fill)).is_ok());
    assert_eq!(
        judge(&padded(fill + 64)).unwrap_err().code(),
        "too_many_bytes"
    );
}

#[test]
fn bytes_after_a_certificate_are_refused() {
    for index in [0, 1] {
        let mut chain = World::shared().chain(|_| {});
        assert!(judge(&chain).is_ok());
        let longer = [chain[index].as_ref(), &[0]].concat();
        chain[index] = longer.into();
        assert_eq!(judge(&chain), Err(Refusal::Malformed { index }));
    }
}

#[test]
fn a_missing_intermediate_is_an_unknown_issuer() {
    let chain = World::shared().chain(|_| {});
    assert!(judge(&chain).is_ok());
    assert_eq!(judge(&chain[..1]), Err(Refusal::UnknownIssuer));
}

#[test]
fn another_root_of_the_same_name_is_refused() {
    let chain = World::new("example.org").chain(|_| {});
    assert_eq!(judge(&chain), Err(Refusal::BadSignature));
    let chain = World::new("elsewhere").chain(|_| {});
    assert_eq!(judge(&chain), Err(Refusal::UnknownIssuer));
}

#[test]
fn a_foreign_trust_domain_of_our_ca_is_refused() {
    let chain = World::shared().chain(|leaf| {
        leaf.subject_alt_names = vec![uri("spiffe://other.org/web")];
    });
    let trust_domain = trust_domain("other.org");
    assert_eq!(
        judge(&chain),
        Err(Refusal::UnknownTrustDomain { trust_domain })
    );
}

#[test]
fn bundles_of_two_trust_domains_never_merge() {
    let (ours, other) = (World::shared(), World::new("other.org"));
    let both = bundles(&[("example.org", &ours.root), ("other.org", &other.root)]);
    let judged = |world: &World, id| {
        let chain = world.chain(|leaf| leaf.subject_alt_names = vec![uri(id)]);
        verify_svid(&chain, &both, &[], now()).map(drop)
    };
    assert_eq!(judged(ours, WEB), Ok(()));
    assert_eq!(judged(&other, "spiffe://other.org/web"), Ok(()));
    assert_eq!(judged(&other, WEB), Err(Refusal::UnknownIssuer));
    assert_eq!(
        judged(ours, "spiffe://other.org/web"),
        Err(Refusal::UnknownIssuer)
    );
}

#[test]
fn a_mutated_signature_is_refused() {
    for index in [0, 1] {
        let mut chain = World::shared().chain(|_| {});
        assert!(judge(&chain).is_ok());
        let mut der = chain[index].to_vec();
        *der.last_mut().unwrap() ^= 1;
        chain[index] = der.into();
        assert_eq!(judge(&chain), Err(Refusal::BadSignature));
    }
}

#[test]
fn a_self_signed_leaf_is_refused() {
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf = leaf_params(WEB).self_signed(&key).unwrap();
    assert_eq!(judge(&[leaf.der().clone()]), Err(Refusal::UnknownIssuer));
}

#[test]
fn the_search_among_equal_names_ends() {
    // Every certificate claims the root's name, so each is a candidate to issue each other.
    let name = "example.org root";
    let impostor = || Ca::root(name, |_| {});
    let (first, second, third) = (impostor(), impostor(), impostor());
    let leaf = first.issue(&leaf_params(WEB), &World::shared().key);
    let chain = [leaf, first.der, second.der, third.der];
    let refusal = judge(&chain).unwrap_err();
    assert!(
        matches!(refusal, Refusal::BadSignature | Refusal::UnknownIssuer),
        "the search ended by itself, not at a budget: {refusal}"
    );
}
