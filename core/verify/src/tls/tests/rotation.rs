//! What is replaced while handshakes go on.

use super::*;
use crate::pki::{Ca, bundles};

fn serial_seen(pair: &Pair) -> Vec<u8> {
    peer_of(pair.client.peer_certificates().unwrap())
        .unwrap()
        .serial
}

#[test]
fn a_new_identity_serves_the_next_handshake() {
    let setup = Setup::mutual();
    let (server, client) = setup.configs();
    let before = shake(&server, &client).unwrap();
    setup.server.install(key_of(World::shared(), WEB, 8));
    let after = shake(&server, &client).unwrap();
    assert_eq!(
        (serial_seen(&before), serial_seen(&after)),
        (vec![7], vec![8])
    );
}

#[test]
fn established_connections_outlive_a_rotation() {
    use std::io::{Read, Write};
    let setup = Setup::mutual();
    let mut pair = setup.shake().unwrap();
    setup.server.install(key_of(World::shared(), WEB, 8));
    setup.server_trust.install(BundleSet::default());
    pair.client.writer().write_all(b"still here").unwrap();
    carry(&mut pair.client, &mut pair.server).unwrap();
    let mut heard = [0; 10];
    pair.server.reader().read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"still here");
}

#[test]
fn a_withdrawn_identity_serves_nobody() {
    let setup = Setup::mutual();
    let (server, client) = setup.configs();
    assert!(shake(&server, &client).is_ok());
    setup.server.withdraw();
    assert!(matches!(shake(&server, &client), Err(Failed::Server(_))));
    setup.server.install(key_of(World::shared(), WEB, 9));
    assert!(shake(&server, &client).is_ok());
}

#[test]
fn new_bundles_judge_the_next_handshake() {
    let setup = Setup::mutual();
    let (server, client) = setup.configs();
    assert!(shake(&server, &client).is_ok());
    let stranger = Ca::root("another root", |_| {});
    setup
        .client_trust
        .install(bundles(&[("example.org", &stranger)]));
    let failed = shake(&server, &client).unwrap_err();
    assert!(matches!(failed, Failed::Client(_)));
    assert_eq!(failed.code(), "unknown_issuer");
    setup.client_trust.install(World::shared().bundles());
    assert!(shake(&server, &client).is_ok());
}
