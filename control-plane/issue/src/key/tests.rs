//! Good keys pass; each weakness is found by the check that is for it.

use aws_lc_rs::agreement::{ECDH_P256, ECDH_P384, PrivateKey};
use num_bigint::BigUint;
use rcgen::{
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ECDSA_P521_SHA512, PKCS_ED25519,
    PKCS_RSA_SHA256, RsaKeySize,
};

use super::rsa::spki as rsa_spki;
use super::*;

fn finding(spki: &[u8]) -> Finding {
    PublicKey::read(spki).expect_err("a refusal")
}

fn rsa(modulus: &BigUint, exponent: u32) -> Vec<u8> {
    rsa_spki(modulus, &BigUint::from(exponent))
}

/// The first number from here on, in these steps, that has no factor below 752.
fn sound(mut number: BigUint, step: &BigUint) -> BigUint {
    let primes = small_factors::primes_below(752);
    while primes
        .iter()
        .any(|prime| small_factors::remainder(&number, *prime) == 0)
    {
        number += step;
    }
    number
}

/// Half of a modulus with 2048 bits, so far from the first of its kind.
fn half(gap: &BigUint) -> BigUint {
    let first = (BigUint::from(3_u32) << 1_022_u32) + 1_u32;
    sound(first + gap, &BigUint::from(2_u32))
}

fn power_of_two(power: u32) -> BigUint {
    BigUint::from(1_u32) << power
}

fn modulus_with_gap(gap: &BigUint) -> BigUint {
    half(&BigUint::ZERO) * half(gap)
}

#[test]
fn sound_keys_of_every_kind_pass() {
    for (algorithm, kind) in [
        (&PKCS_ECDSA_P256_SHA256, KeyKind::P256),
        (&PKCS_ECDSA_P384_SHA384, KeyKind::P384),
    ] {
        let pair = KeyPair::generate_for(algorithm).unwrap();
        let spki = pair.subject_public_key_info();
        let key = PublicKey::read(&spki).unwrap();
        assert_eq!((key.kind(), key.spki()), (kind, spki.as_slice()));
        assert_eq!(key.der_bytes(), pair.der_bytes());
    }
    let pair = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let key = PublicKey::read(&pair.subject_public_key_info()).unwrap();
    assert_eq!(key.kind(), KeyKind::Rsa);
    assert_eq!(key.der_bytes(), pair.der_bytes());
}

#[test]
fn keys_of_other_kinds_are_refused() {
    for algorithm in [&PKCS_ECDSA_P521_SHA512, &PKCS_ED25519] {
        let pair = KeyPair::generate_for(algorithm).unwrap();
        assert_eq!(finding(&pair.subject_public_key_info()).rule, "key_kind");
    }
    let huge = vec![0x30; MAX_SPKI_BYTES + 1];
    for junk in [&[][..], &[0x30, 0x80], &[0xff; 91], &huge] {
        assert_eq!(finding(junk).rule, "key_kind");
    }
}

#[test]
fn a_key_has_one_encoding() {
    let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let spki = pair.subject_public_key_info();
    let trailing = [spki.as_slice(), &[0]].concat();
    // The same point, compressed: a SubjectPublicKeyInfo of 59 bytes.
    let point = pair.der_bytes();
    let sign = 2 + (point[64] & 1);
    let mut compressed = spki[..26].to_vec();
    (compressed[1], compressed[24]) = (0x39, 0x22);
    compressed.push(sign);
    compressed.extend(&point[1..33]);
    let pair = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let rsa = pair.subject_public_key_info();
    let rsa_trailing = [rsa.as_slice(), &[0]].concat();
    // Parameters that must be NULL are absent.
    let mut without_null = rsa.clone();
    without_null.drain(17..19);
    (without_null[3], without_null[5]) = (without_null[3] - 2, without_null[5] - 2);
    for other in [&trailing, &compressed, &rsa_trailing, &without_null] {
        assert_eq!(finding(other).rule, "key_kind");
    }
}

#[test]
fn points_off_the_curve_are_refused() {
    for algorithm in [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384] {
        let pair = KeyPair::generate_for(algorithm).unwrap();
        let mut spki = pair.subject_public_key_info();
        let last = spki.len() - 1;
        spki[last] ^= 1;
        let refused = finding(&spki);
        assert_eq!(
            (refused.rule, refused.section),
            (WEAK, "SP 800-56A section 5.6.2.3.3")
        );
        // The point at infinity has no uncompressed form; zeros are not on the curve either.
        let start = spki.len() - pair.der_bytes().len() + 1;
        spki[start..].fill(0);
        assert_eq!(finding(&spki).rule, WEAK);
    }
}

#[test]
fn rsa_of_odd_sizes_is_refused() {
    let one = || BigUint::from(1_u32);
    for bits in [1_024_u32, 2_040, 2_049, 2_052] {
        let modulus = (one() << (bits - 1)) + 1_u32;
        let refused = finding(&rsa(&modulus, 65_537));
        assert_eq!((refused.rule, bits), (KIND, bits));
    }
    let modulus = (one() << 8_199_u32) + 1_u32;
    assert_eq!(finding(&rsa(&modulus, 65_537)).rule, KIND);
}

#[test]
fn careless_exponents_are_refused() {
    let modulus = modulus_with_gap(&power_of_two(1_000));
    for exponent in [1, 3, 17, 65_535, 65_536, 65_538] {
        let refused = finding(&rsa(&modulus, exponent));
        assert!(
            refused.section.contains("SP 800-89"),
            "{exponent}: {refused}"
        );
    }
    let large = (BigUint::from(1_u32) << 256_u32) + 1_u32;
    assert!(
        finding(&rsa_spki(&modulus, &large))
            .section
            .contains("SP 800-89")
    );
    assert!(PublicKey::read(&rsa(&modulus, 65_537)).is_ok());
}

#[test]
fn small_factors_are_found() {
    for factor in [2_u32, 3, 743, 751] {
        // The largest multiple of the factor with 2048 bits.
        let top = (BigUint::from(1_u32) << 2_048_u32) - 1_u32;
        let modulus = &top - (&top % factor);
        let refused = finding(&rsa(&modulus, 65_537));
        assert!(
            refused.problem.contains("small factor"),
            "{factor}: {refused}"
        );
    }
}

#[test]
fn close_primes_are_found() {
    // A gap of g takes g² / 2^1027 rounds.
    let close = [
        BigUint::ZERO,
        BigUint::from(2_u32),
        power_of_two(400),
        power_of_two(514),
    ];
    for gap in close {
        let refused = finding(&rsa(&modulus_with_gap(&gap), 65_537));
        assert!(
            refused.section.contains("CVE-2022-26320"),
            "{gap}: {refused}"
        );
    }
    let modulus = modulus_with_gap(&power_of_two(520));
    assert!(PublicKey::read(&rsa(&modulus, 65_537)).is_ok());
}

#[test]
fn keys_of_the_infineon_form_are_found() {
    let product: BigUint = small_factors::primes_below(702)
        .into_iter()
        .map(BigUint::from)
        .product();
    // k · M + (65537^a mod M), for the first k that leaves no factor below 752.
    let prime = |power: u32, low: u32| {
        let rest = BigUint::from(65_537_u32).modpow(&BigUint::from(power), &product);
        let multiple = (BigUint::from(3_u32) << (1_022 - product.bits())) + low;
        sound(multiple * &product + rest, &product)
    };
    let modulus = prime(1_234, 1) * prime(98_765, 1 << 20);
    assert_eq!(modulus.bits() % 8, 0, "{}", modulus.bits());
    let refused = finding(&rsa(&modulus, 65_537));
    assert_eq!(refused.section, "CVE-2017-15361 (ROCA)");
}

#[test]
fn published_keys_are_known() {
    let p256 = |scalar: [u8; 32]| {
        let private = PrivateKey::from_private_key(&ECDH_P256, &scalar).unwrap();
        let point = private.compute_public_key().unwrap();
        [point::P256, point.as_ref()].concat()
    };
    let p384 = |scalar: [u8; 48]| {
        let private = PrivateKey::from_private_key(&ECDH_P384, &scalar).unwrap();
        let point = private.compute_public_key().unwrap();
        [point::P384, point.as_ref()].concat()
    };
    let mut keys = Vec::new();
    for low in 1..=4 {
        let (mut small, mut large) = ([0; 32], [0; 48]);
        (small[31], large[47]) = (low, low);
        keys.extend([p256(small), p384(large)]);
    }
    let known = |text: &str| hex::decode(text).unwrap();
    // RFC 6979 appendices A.2.5 and A.2.6.
    let small = "c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721";
    keys.push(p256(known(small).try_into().unwrap()));
    let large = "6b9d3dad2e1b8c1c05b19875b6659f4de23c3b667bf297ba\
                 9aa47740787137d896d5724e4c70a825f872c9ea60d2edf5";
    keys.push(p384(known(large).try_into().unwrap()));
    for spki in keys {
        assert_eq!(finding(&spki).rule, "key_known_bad");
    }
}

#[test]
fn known_keys_are_well_written() {
    let mut hashes: Vec<_> = known_bad::KEYS.iter().map(|(hash, _)| *hash).collect();
    for hash in &hashes {
        let decoded = hex::decode(hash).unwrap();
        assert_eq!(
            (decoded.len(), hash.to_lowercase()),
            (32, (*hash).to_owned())
        );
    }
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), known_bad::KEYS.len());
}
