//! Requests that are taken, and everything that must not be.

use proptest::prelude::*;
use rcgen::{
    CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ECDSA_P521_SHA512, PKCS_ED25519,
    PKCS_RSA_SHA256, PublicKeyData, RsaKeySize, SanType, SigningKey,
};
use x509_cert::attr::Attribute;
use x509_cert::der::asn1::{Any, BitString, ObjectIdentifier, SetOfVec};

use super::*;

const SEQUENCE: u8 = SEQUENCE_TAG;

fn pair() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap()
}

/// A request as a tool would make it, with names that must not be copied.
fn made(pair: &KeyPair) -> Vec<u8> {
    let mut params = CertificateParams::new(["evil.example.org".to_owned()]).unwrap();
    let stolen = SanType::URI("spiffe://example.org/admin".try_into().unwrap());
    params.subject_alt_names.push(stolen);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
    let request = params.serialize_request(pair).unwrap();
    request.der().to_vec()
}

/// The same with other contents, signed again: whoever makes it holds the key.
fn forged(pair: &KeyPair, change: impl FnOnce(&mut CertReqInfo)) -> Vec<u8> {
    let mut request = CertReq::from_der(&made(pair)).unwrap();
    change(&mut request.info);
    let signature = pair.sign(&request.info.to_der().unwrap()).unwrap();
    request.signature = BitString::from_bytes(&signature).unwrap();
    request.to_der().unwrap()
}

fn attribute(oid: &str, value: &[u8]) -> Attribute {
    let mut values = SetOfVec::new();
    values.insert(Any::from_der(value).unwrap()).unwrap();
    let oid = ObjectIdentifier::new_unwrap(oid);
    Attribute { oid, values }
}

fn refusal(bytes: &[u8]) -> RequestError {
    Requested::read(bytes).expect_err("refused")
}

/// One value of DER.
fn tlv(tag: u8, contents: &[u8]) -> Vec<u8> {
    let length = contents.len();
    let header = match u8::try_from(length) {
        Ok(short) if short < 0x80 => vec![tag, short],
        Ok(long) => vec![tag, 0x81, long],
        Err(_) => {
            let [.., high, low] = length.to_be_bytes();
            vec![tag, 0x82, high, low]
        }
    };
    [header, contents.to_vec()].concat()
}

fn nested(levels: usize) -> Vec<u8> {
    (0..levels).fold(Vec::new(), |inner, _| tlv(SEQUENCE, &inner))
}

#[test]
fn only_the_key_of_a_request_counts() {
    for pair in [
        pair(),
        KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap(),
        KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap(),
    ] {
        let requested = Requested::read(&made(&pair)).unwrap();
        assert_eq!(requested.spki(), pair.subject_public_key_info());
    }
}

fn pem(der: &[u8]) -> String {
    pem::write(CERTIFICATE_REQUEST, der)
}

#[test]
fn pem_is_read_under_both_its_names() {
    let der = made(&pair());
    let good = pem(&der);
    for text in [
        good.clone(),
        good.replace("CERTIFICATE", "NEW CERTIFICATE"),
        good.replace('\n', "\r\n"),
        format!("\u{feff}{good}"),
        format!("0 errors\nCertificate Request:\n    Data:\n{good}"),
    ] {
        assert!(Requested::read(text.as_bytes()).is_ok(), "{text}");
    }
    let certificate = good.replace(" REQUEST", "");
    let cut = &good[..good.len() - 30];
    for bad in [
        &certificate,
        cut,
        &format!("{good}{good}"),
        &format!("{good}{certificate}"),
        &good.replacen('\n', "\n*", 2),
        "",
        "hello",
        "-----BEGIN CERTIFICATE REQUEST-----\n-----END CERTIFICATE REQUEST-----\n",
    ] {
        let refused = refusal(bad.as_bytes());
        assert!(
            matches!(refused, RequestError::Pem(_) | RequestError::NotDer),
            "{refused:?}: {bad}"
        );
    }
}

#[test]
fn der_that_holds_a_pem_request_is_one_request() {
    let (mine, theirs) = (pair(), pair());
    let mut params = CertificateParams::default();
    let name = format!("\n{}", pem(&made(&theirs)));
    let subject = &mut params.distinguished_name;
    subject.push(rcgen::DnType::CommonName, name);
    let request = params.serialize_request(&mine).unwrap();
    let requested = Requested::read(request.der()).unwrap();
    assert_eq!(requested.spki(), mine.subject_public_key_info());
}

/// A request whose attributes field is left out, with the signature of `signs` over what is there.
fn without_attributes(request: &[u8], signs: impl FnOnce(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let request = CertReq::from_der(request).unwrap();
    let info = &request.info;
    let fields = [
        info.version.to_der().unwrap(),
        info.subject.to_der().unwrap(),
        info.public_key.to_der().unwrap(),
    ];
    let info = tlv(SEQUENCE, &fields.concat());
    let signature = BitString::from_bytes(&signs(&info)).unwrap();
    let others = [
        request.algorithm.to_der().unwrap(),
        signature.to_der().unwrap(),
    ];
    tlv(SEQUENCE, &[info, others.concat()].concat())
}

#[test]
fn request_without_attributes_field_is_taken() {
    let pair = pair();
    let bare = without_attributes(&made(&pair), |info| pair.sign(info).unwrap());
    let requested = Requested::read(&bare).unwrap();
    assert_eq!(requested.spki(), pair.subject_public_key_info());
    let text = pem(&bare);
    assert!(Requested::read(text.as_bytes()).is_ok());
}

#[test]
fn attributes_that_were_signed_cannot_be_left_out() {
    let pair = pair();
    let full = made(&pair);
    let signed = CertReq::from_der(&full).unwrap();
    let stripped = without_attributes(&full, |_| signed.signature.raw_bytes().to_vec());
    assert_eq!(refusal(&stripped), RequestError::SignatureInvalid);
    // Nor added: an empty field is not what was signed.
    let bare = without_attributes(&full, |info| pair.sign(info).unwrap());
    let filled = der::with_attributes(&bare).unwrap();
    assert_eq!(refusal(&filled), RequestError::SignatureInvalid);
}

#[test]
fn size_is_judged_before_anything_else() {
    let mut padded = made(&pair());
    padded.resize(MAX_REQUEST_BYTES, 0);
    assert_eq!(refusal(&padded), RequestError::TrailingBytes);
    padded.push(0);
    assert_eq!(refusal(&padded), RequestError::TooLarge);
    for first in [SEQUENCE, b'-', 0, 0xff] {
        assert_eq!(refusal(&vec![first; 10 << 20]), RequestError::TooLarge);
    }
}

#[test]
fn depth_is_judged_before_meaning() {
    assert_eq!(refusal(&nested(MAX_DEPTH)), RequestError::NotDer);
    for levels in [MAX_DEPTH + 2, 100, 4_000] {
        assert_eq!(refusal(&nested(levels)), RequestError::TooDeep, "{levels}");
    }
    let pair = pair();
    let within = |levels: usize| {
        let deep = attribute("1.2.840.113549.1.9.7", &nested(levels));
        forged(&pair, |info| info.attributes.insert(deep).unwrap())
    };
    assert!(
        Requested::read(&within(4)).is_ok(),
        "what is ignored may nest"
    );
    assert_eq!(refusal(&within(MAX_DEPTH)), RequestError::TooDeep);
}

#[test]
fn encodings_that_others_read_differently_are_refused() {
    let good = made(&pair());
    let [SEQUENCE, 0x82, high, low, contents @ ..] = good.as_slice() else {
        panic!("a request is between 256 bytes and 64 kB");
    };
    let longer = [&[SEQUENCE, 0x83, 0, *high, *low], contents].concat();
    let indefinite = [&[SEQUENCE, 0x80], contents, &[0, 0]].concat();
    let set = [&[0x31, 0x82, *high, *low], contents].concat();
    for bytes in [longer, indefinite] {
        assert_eq!(refusal(&bytes), RequestError::NotDer);
    }
    let refused = refusal(&set);
    assert!(
        matches!(refused, RequestError::Pem(_)),
        "no request begins so"
    );
    assert_eq!(
        refusal(&[&good, [0].as_slice()].concat()),
        RequestError::TrailingBytes
    );
    assert_eq!(
        refusal(&[&*good, &*good].concat()),
        RequestError::TrailingBytes
    );
    let inner = tlv(SEQUENCE, &[contents, &[5, 0]].concat());
    assert_eq!(refusal(&inner), RequestError::NotDer, "a fourth field");
}

#[test]
fn attributes_out_of_order_are_refused() {
    let pair = pair();
    let good = forged(&pair, |info| {
        let attributes = &mut info.attributes;
        attributes
            .insert(attribute("1.2.840.113549.1.9.7", &[0x0c, 1, b'a']))
            .unwrap();
    });
    let request = CertReq::from_der(&good).unwrap();
    let [first, second] = request.info.attributes.as_slice() else {
        panic!("two attributes");
    };
    let (first, second) = (first.to_der().unwrap(), second.to_der().unwrap());
    let (ordered, turned) = ([&*first, &*second].concat(), [&*second, &*first].concat());
    let at = good
        .windows(ordered.len())
        .position(|window| window == ordered)
        .unwrap();
    let mut bytes = good.clone();
    bytes[at..at + turned.len()].copy_from_slice(&turned);
    assert_eq!(refusal(&bytes), RequestError::NotDer);
}

#[test]
fn what_is_said_twice_is_refused() {
    let pair = pair();
    let challenge = |text| attribute("1.2.840.113549.1.9.7", &[0x0c, 1, text]);
    let twice = forged(&pair, |info| {
        info.attributes.insert(challenge(b'a')).unwrap();
        info.attributes.insert(challenge(b'b')).unwrap();
    });
    assert_eq!(refusal(&twice), RequestError::DuplicateAttribute);

    let mut params = CertificateParams::default();
    for content in [1, 2] {
        let oid = &[1, 3, 6, 1, 4, 1, 99];
        let extension = CustomExtension::from_oid_content(oid, vec![5, content]);
        params.custom_extensions.push(extension);
    }
    let twice = params.serialize_request(&pair).unwrap();
    assert_eq!(refusal(twice.der()), RequestError::DuplicateExtension);

    let requests = forged(&pair, |info| {
        let asked = info.attributes.as_slice()[0].values.as_slice()[0].clone();
        let mut values = SetOfVec::new();
        values.insert(asked).unwrap();
        values.insert(Any::from_der(&nested(1)).unwrap()).unwrap();
        let oid = ExtensionReq::OID;
        info.attributes = SetOfVec::try_from(vec![Attribute { oid, values }]).unwrap();
    });
    assert_eq!(refusal(&requests), RequestError::DuplicateAttribute);
    let garbled = forged(&pair, |info| {
        let oid = ExtensionReq::OID.to_string();
        let wrong = attribute(&oid, &[0x0c, 1, b'a']);
        info.attributes = SetOfVec::try_from(vec![wrong]).unwrap();
    });
    assert_eq!(refusal(&garbled), RequestError::NotDer);
}

#[test]
fn request_for_a_ca_is_only_a_key() {
    let pair = pair();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let request = params.serialize_request(&pair).unwrap();
    let requested = Requested::read(request.der()).unwrap();
    assert_eq!(requested.spki(), pair.subject_public_key_info());
}

#[test]
fn keys_of_another_kind_are_refused() {
    for algorithm in [&PKCS_ECDSA_P521_SHA512, &PKCS_ED25519] {
        let pair = KeyPair::generate_for(algorithm).unwrap();
        assert_eq!(refusal(&made(&pair)), RequestError::KeyKind);
    }
    let weak = include_str!("tests/rsa-1024.csr");
    assert_eq!(refusal(weak.as_bytes()), RequestError::KeyKind);
}

#[test]
fn signature_of_another_proves_nothing() {
    let (mine, theirs) = (pair(), pair());
    let stolen = forged(&mine, |info| {
        let other = CertReq::from_der(&made(&theirs)).unwrap();
        info.public_key = other.info.public_key;
    });
    assert_eq!(refusal(&stolen), RequestError::SignatureInvalid);
    let mut request = CertReq::from_der(&made(&mine)).unwrap();
    let rsa = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    request.algorithm = CertReq::from_der(&made(&rsa)).unwrap().algorithm;
    assert_eq!(
        refusal(&request.to_der().unwrap()),
        RequestError::SignatureAlgorithm
    );
    let mut request = CertReq::from_der(&made(&mine)).unwrap();
    request.signature = BitString::from_bytes(&[]).unwrap();
    assert_eq!(
        refusal(&request.to_der().unwrap()),
        RequestError::SignatureInvalid
    );
}

#[test]
fn no_flipped_bit_and_no_cut_goes_unseen() {
    let good = made(&pair());
    for at in 0..good.len() {
        assert!(Requested::read(&good[..at]).is_err(), "cut at {at}");
        for bit in 0..8 {
            let mut bytes = good.clone();
            bytes[at] ^= 1 << bit;
            assert!(Requested::read(&bytes).is_err(), "bit {bit} of byte {at}");
        }
    }
}

#[test]
fn every_refusal_has_a_code_and_a_remedy() {
    use RequestError::*;
    let all = [
        TooLarge,
        Pem(PemError::NoBlock { wanted: "request" }),
        TooDeep,
        TrailingBytes,
        NotDer,
        DuplicateAttribute,
        DuplicateExtension,
        KeyKind,
        SignatureAlgorithm,
        SignatureInvalid,
    ];
    let codes: HashSet<_> = all.iter().map(|it| it.code()).collect();
    assert_eq!(codes.len(), all.len());
    for error in all {
        assert!(error.code().starts_with("csr_") && !error.remedy().is_empty());
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_judged(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(Requested::read(&bytes).is_err());
        let framed = tlv(SEQUENCE, &bytes);
        prop_assert!(Requested::read(&framed).is_err());
    }

    #[test]
    fn spliced_requests_are_judged(
        from in 0_usize..1_000,
        to in 0_usize..1_000,
        put in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let good = made(&pair());
        let (from, to) = (from % good.len(), to % good.len());
        let (from, to) = (from.min(to), from.max(to));
        let spliced = [&good[..from], &put, &good[to..]].concat();
        let is_good = spliced == good;
        prop_assert_eq!(Requested::read(&spliced).is_ok(), is_good);
    }
}
