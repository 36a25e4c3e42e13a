//! Payloads against a real reader and against what must never be in them.

use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::SubjectAltNameMatcher;
use proptest::prelude::*;
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;

use super::*;

fn ders(contents: &[&'static [u8]]) -> Vec<CertificateDer<'static>> {
    contents
        .iter()
        .map(|der| CertificateDer::from(*der))
        .collect()
}

fn context(body: &[u8]) -> CertificateValidationContext {
    match Secret::decode(body).unwrap().r#type {
        Some(Type::ValidationContext(context)) => context,
        other => panic!("not a validation context: {other:?}"),
    }
}

#[test]
fn a_chain_survives_the_wire() {
    let chain = ders(&[b"leaf", b"issuing", b"intermediate"]);
    let body = certificate_chain("spiffe://example.org/web", &chain);
    assert_eq!(read_certificate_chain(&body), Ok(chain));
    assert_eq!(
        Secret::decode(&*body).unwrap().name,
        "spiffe://example.org/web"
    );
}

#[test]
fn an_envoy_gets_chain_and_key() {
    let chain = ders(&[b"leaf", b"issuing"]);
    let body = tls_certificate("default", &chain, b"the private key");
    let Some(Type::TlsCertificate(certificate)) = Secret::decode(&*body).unwrap().r#type else {
        panic!("not a certificate");
    };
    let pem = inline(certificate.certificate_chain.as_ref()).unwrap();
    assert_eq!(pem::read_certificates(pem), Ok(chain));
    let key = PrivatePkcs8KeyDer::from_pem_slice(inline(certificate.private_key.as_ref()).unwrap());
    assert_eq!(key.unwrap().secret_pkcs8_der(), b"the private key");
}

#[test]
fn a_secret_with_a_key_is_no_chain() {
    let body = tls_certificate("default", &ders(&[b"leaf"]), b"key");
    let refused = SecretError("more than a certificate chain");
    assert_eq!(read_certificate_chain(&body), Err(refused));
}

#[test]
fn a_key_inside_the_chain_is_refused() {
    let mut pem = pem::certificates(&ders(&[b"leaf"]));
    pem.extend(pem::private_key(b"key"));
    let body = encode(&Secret {
        name: String::new(),
        r#type: Some(Type::TlsCertificate(TlsCertificate {
            certificate_chain: Some(source(pem)),
            ..TlsCertificate::default()
        })),
    });
    let refused = SecretError("PEM of another kind than a certificate");
    assert_eq!(read_certificate_chain(&body), Err(refused));
}

#[test]
fn a_trusted_ca_is_roots_and_nothing_else() {
    let roots = ders(&[b"old root", b"new root"]);
    let body = trusted_ca("ROOTCA", &roots);
    assert_eq!(read_trusted_ca(&body), Ok(roots.clone()));
    let bare = CertificateValidationContext {
        trusted_ca: Some(source(pem::certificates(&roots))),
        ..CertificateValidationContext::default()
    };
    assert_eq!(context(&body), bare);
}

#[test]
fn a_trusted_ca_with_matchers_is_refused() {
    let mut context = context(&trusted_ca("ROOTCA", &ders(&[b"root"])));
    context.match_typed_subject_alt_names = vec![SubjectAltNameMatcher::default()];
    let body = encode(&validation_secret("ROOTCA", context));
    assert_eq!(
        read_trusted_ca(&body),
        Err(SecretError("more than a trusted_ca"))
    );
}

#[test]
fn an_empty_bundle_fails_closed() {
    let body = trusted_ca("ROOTCA", &[]);
    // Present and empty: Envoy refuses the source. Left out, Envoy would admit anybody.
    assert_eq!(inline(context(&body).trusted_ca.as_ref()), Ok(&[][..]));
    assert_eq!(read_trusted_ca(&body), Err(SecretError("no certificate")));
    assert_eq!(
        read_trusted_ca(&[]),
        Err(SecretError("not a validation_context"))
    );
}

#[test]
fn the_spiffe_validator_is_sorted_and_complete() {
    let names = ["c.test", "a.test", "empty.test"].map(|name| TrustDomain::new(name).unwrap());
    let roots = [ders(&[b"c"]), ders(&[b"a1", b"a2"]), ders(&[])];
    let bundles: Vec<_> = names.iter().zip(roots.iter().map(Vec::as_slice)).collect();
    let context = context(&spiffe_validator("ALL", &bundles));
    let validator = context.custom_validator_config.clone().unwrap();
    assert_eq!(validator.name, "envoy.tls.cert_validator.spiffe");
    let any = validator.typed_config.unwrap();
    assert_eq!(
        any.type_url,
        "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig"
    );
    let config = SpiffeCertValidatorConfig::decode(&*any.value).unwrap();
    let domains: Vec<_> = config
        .trust_domains
        .iter()
        .map(|d| d.name.as_str())
        .collect();
    assert_eq!(domains, ["a.test", "c.test"]);
    let pem = inline(config.trust_domains[0].trust_bundle.as_ref()).unwrap();
    assert_eq!(pem::read_certificates(pem), Ok(roots[1].clone()));
    let rest = CertificateValidationContext {
        custom_validator_config: None,
        ..context
    };
    assert_eq!(rest, CertificateValidationContext::default());
}

#[test]
fn equal_content_has_equal_bytes() {
    let domains = ["b.test", "a.test"].map(|name| TrustDomain::new(name).unwrap());
    let roots = ders(&[b"root"]);
    let bundle = |i: usize| (&domains[i], roots.as_slice());
    let one = spiffe_validator("ALL", &[bundle(0), bundle(1)]);
    assert_eq!(one, spiffe_validator("ALL", &[bundle(1), bundle(0)]));
}

#[test]
fn too_many_certificates_are_refused() {
    let many: Vec<_> = (0..=pem::MAX_CERTIFICATES)
        .map(|_| CertificateDer::from(&b"x"[..]))
        .collect();
    let body = trusted_ca("ROOTCA", &many);
    assert_eq!(
        read_trusted_ca(&body),
        Err(SecretError("too many certificates"))
    );
    let long = vec![0; MAX_SECRET_BYTES + 1];
    assert_eq!(read_trusted_ca(&long), Err(SecretError("too long")));
}

#[test]
fn the_type_url_is_envoys() {
    assert_eq!(Secret::type_url(), SECRET_TYPE);
}

#[test]
fn a_block_is_as_rfc_7468_writes_it() {
    let pem = pem::certificates(&ders(&[&[0xff; 50]]));
    let expected = format!(
        "-----BEGIN CERTIFICATE-----\n{}\n//8=\n-----END CERTIFICATE-----\n",
        "/".repeat(64)
    );
    assert_eq!(String::from_utf8(pem).unwrap(), expected);
}

proptest! {
    #[test]
    fn any_der_survives_as_pem(ders in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..200), 1..5)) {
        let chain: Vec<_> = ders.into_iter().map(CertificateDer::from).collect();
        let pem = pem::certificates(&chain);
        prop_assert_eq!(pem.len(), pem.capacity(), "the buffer had its final size");
        prop_assert_eq!(read_certificate_chain(&certificate_chain("n", &chain)), Ok(chain));
    }

    #[test]
    fn arbitrary_bytes_are_refused_in_peace(body in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read_certificate_chain(&body);
        let _ = read_trusted_ca(&body);
    }

    #[test]
    fn a_damaged_secret_never_panics(at in 0usize..200, byte: u8) {
        let mut body = certificate_chain("n", &ders(&[b"leaf", b"issuing"])).to_vec();
        let at = at % body.len();
        body[at] = byte;
        let _ = read_certificate_chain(&body);
    }
}
