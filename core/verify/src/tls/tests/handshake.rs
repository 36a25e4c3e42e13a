//! What every handshake of ours is like.

use rustls::crypto::SupportedKxGroup;
use rustls::{AlertDescription, CipherSuite, HandshakeKind, NamedGroup, ProtocolVersion};

use super::*;

#[test]
fn both_sides_know_each_other() {
    let pair = Setup::mutual().shake().unwrap();
    let server = peer_of(pair.client.peer_certificates().unwrap()).unwrap();
    let client = peer_of(pair.server.peer_certificates().unwrap()).unwrap();
    assert_eq!((server.id.as_str(), client.id.as_str()), (WEB, CLIENT));
    assert_eq!(
        pair.client.protocol_version(),
        Some(ProtocolVersion::TLSv1_3)
    );
    assert_eq!(pair.client.alpn_protocol(), Some(b"h2".as_slice()));
}

#[test]
fn the_hybrid_group_is_negotiated_at_once() {
    let pair = Setup::mutual().shake().unwrap();
    let hybrid = Some(NamedGroup::X25519MLKEM768);
    let client = pair.client.negotiated_key_exchange_group();
    let server = pair.server.negotiated_key_exchange_group();
    assert_eq!(client.map(SupportedKxGroup::name), hybrid);
    assert_eq!(server.map(SupportedKxGroup::name), hybrid);
    assert_eq!(pair.server.handshake_kind(), Some(HandshakeKind::Full));
}

#[test]
fn aes_128_is_preferred_and_a_client_that_wants_another_gets_it() {
    let (server, client) = Setup::mutual().configs();
    let chosen = |client: &Arc<ClientConfig>| {
        let pair = shake(&server, client).unwrap();
        pair.server.negotiated_cipher_suite().unwrap().suite()
    };
    assert_eq!(chosen(&client), CipherSuite::TLS13_AES_128_GCM_SHA256);
    for wanted in &provider().cipher_suites {
        let mut own = CryptoProvider::clone(provider());
        own.cipher_suites.retain(|suite| suite != wanted);
        own.cipher_suites.insert(0, *wanted);
        let other = client_at_fixed_time(&client_with(own));
        assert_eq!(chosen(&other), wanted.suite());
    }
}

/// A client as ours, but for its crypto provider.
fn client_with(provider: CryptoProvider) -> Arc<ClientConfig> {
    let trust = TrustCell::new(World::shared().bundles());
    let verifier = SvidVerifier::of_servers(trust, Arc::new(one_of(&[WEB])), None);
    let builder = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(TLS_VERSIONS)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = builder.with_client_cert_resolver(holding(CLIENT));
    config.alpn_protocols = owned(&[b"h2"]);
    Arc::new(config)
}

#[test]
fn nothing_is_ever_resumed() {
    let (server, client) = Setup::mutual().configs();
    for _ in 0..2 {
        let pair = shake(&server, &client).unwrap();
        assert_eq!(pair.client.handshake_kind(), Some(HandshakeKind::Full));
        assert_eq!(pair.server.handshake_kind(), Some(HandshakeKind::Full));
        assert_eq!(pair.client.tls13_tickets_received(), 0);
    }
}

#[test]
fn a_client_that_could_resume_gets_no_ticket() {
    let (server, client) = Setup::mutual().configs();
    let mut eager = ClientConfig::clone(&client);
    eager.resumption = Resumption::in_memory_sessions(8);
    let eager = Arc::new(eager);
    let mut generous = ServerConfig::clone(&server);
    generous.send_tls13_tickets = 2;
    generous.session_storage = rustls::server::ServerSessionMemoryCache::new(8);
    let kinds = |server: &Arc<ServerConfig>| {
        [0, 1].map(|_| shake(server, &eager).unwrap().client.handshake_kind())
    };
    // A server with other settings shows that this client does resume where it can.
    let generous = kinds(&Arc::new(generous));
    assert_eq!(generous[1], Some(HandshakeKind::Resumed));
    assert_eq!(kinds(&server)[1], Some(HandshakeKind::Full));
}

/// A ClientHello with or without the extension that offers TLS 1.3.
fn client_hello(with_tls13: bool) -> Vec<u8> {
    let mut extensions = vec![0, 10, 0, 4, 0, 2, 0, 23, 0, 13, 0, 4, 0, 2, 4, 3];
    if with_tls13 {
        extensions.extend([0, 43, 0, 3, 2, 3, 4, 0, 51, 0, 2, 0, 0]);
    }
    let length = |bytes: &[u8]| u16::try_from(bytes.len()).unwrap().to_be_bytes();
    let suites = [0x13, 0x01, 0xc0, 0x2b];
    let body = [
        [3, 3].as_slice(),
        &[7; 32],
        &[0],
        &length(&suites),
        &suites,
        &[1, 0],
        &length(&extensions),
        &extensions,
    ]
    .concat();
    let handshake = [&[1, 0], length(&body).as_slice(), &body].concat();
    [&[22, 3, 1], length(&handshake).as_slice(), &handshake].concat()
}

#[test]
fn tls_1_2_is_refused() {
    let (config, _) = Setup::mutual().configs();
    let answer = |hello: Vec<u8>| {
        let mut server = ServerConnection::new(config.clone()).unwrap();
        server.read_tls(&mut hello.as_slice()).unwrap();
        server.process_new_packets().map(drop)
    };
    assert_eq!(answer(client_hello(true)), Ok(()));
    let refused = answer(client_hello(false)).unwrap_err();
    assert!(matches!(refused, Error::PeerIncompatible(_)), "{refused}");
}

#[test]
fn a_required_certificate_is_required() {
    let mut setup = Setup::mutual();
    setup.client = None;
    let failed = setup.shake().unwrap_err();
    assert_eq!(failed, Failed::Server(Error::NoCertificatesPresented));
    setup.auth = ClientAuth::Optional;
    let pair = setup.shake().unwrap();
    assert!(pair.server.peer_certificates().is_none());
}

#[test]
fn an_optional_certificate_is_judged_if_present() {
    let mut setup = Setup::mutual();
    setup.auth = ClientAuth::Optional;
    assert!(setup.shake().is_ok());
    setup.client = Some(holding(WEB));
    assert_eq!(setup.shake().unwrap_err().code(), "peer_not_accepted");
}

#[test]
fn an_empty_server_cell_fails_the_handshake() {
    let mut setup = Setup::mutual();
    setup.server = IdentityCell::empty();
    assert!(matches!(setup.shake(), Err(Failed::Server(_))));
}

#[test]
fn an_empty_client_cell_is_never_anonymous() {
    let mut setup = Setup::mutual();
    setup.auth = ClientAuth::Optional;
    setup.client = Some(IdentityCell::empty());
    let failed = setup.shake().unwrap_err();
    assert!(matches!(failed, Failed::Client(_)));
    assert_eq!(failed.code(), "no_identity");
}

#[test]
fn a_key_of_another_leaf_is_refused() {
    let world = World::shared();
    let chain = world.chain(|_| {});
    let own = world.key.serialize_der();
    assert!(certified_key(chain.clone(), &own).is_ok());
    let other = rcgen::KeyPair::generate().unwrap().serialize_der();
    let mismatch = certified_key(chain.clone(), &other).unwrap_err();
    assert!(matches!(mismatch, Error::InconsistentKeys(_)));
    let empty = certified_key(vec![], &own).unwrap_err();
    assert_eq!(empty, Error::NoCertificatesPresented);
    assert!(certified_key(chain, b"no key").is_err());
}

#[test]
fn a_refused_peer_hears_an_alert() {
    let mut setup = Setup::mutual();
    setup.server_trust = TrustCell::new(BundleSet::default());
    let (server, client) = setup.configs();
    let name = ServerName::try_from("any.name").unwrap();
    let mut client = ClientConnection::new(client, name).unwrap();
    let mut server = ServerConnection::new(server).unwrap();
    carry(&mut client, &mut server).unwrap();
    carry(&mut server, &mut client).unwrap();
    let error = carry(&mut client, &mut server).unwrap_err();
    assert_eq!(handshake_code(&error), "unknown_trust_domain");
    let heard = carry(&mut server, &mut client).unwrap_err();
    let alert = AlertDescription::CertificateUnknown;
    assert_eq!(heard, Error::AlertReceived(alert));
}
