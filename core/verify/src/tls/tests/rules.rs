//! Whom a handshake admits, and what a refusal is called.

use std::time::Duration;

use rustls::CertificateError;

use super::*;
use crate::pki::{bundles, trust_domain};

#[test]
fn one_of_refuses_others_both_ways() {
    let mut setup = Setup::mutual();
    assert!(setup.shake().is_ok());
    setup.client_accepts = one_of(&[CLIENT]);
    let failed = setup.shake().unwrap_err();
    assert!(matches!(failed, Failed::Client(_)));
    assert_eq!(failed.code(), "peer_not_accepted");

    let mut setup = Setup::mutual();
    setup.server_accepts = one_of(&[WEB, "spiffe://example.org/clients"]);
    let failed = setup.shake().unwrap_err();
    assert!(matches!(failed, Failed::Server(_)));
    assert_eq!(failed.code(), "peer_not_accepted");
}

#[test]
fn a_refused_peer_is_named() {
    let mut setup = Setup::mutual();
    setup.server_accepts = one_of(&[WEB]);
    let Err(Failed::Server(Error::InvalidCertificate(CertificateError::Other(other)))) =
        setup.shake()
    else {
        panic!("the server refuses the client by its rule");
    };
    let refused = other.0.downcast_ref::<PeerRefused>().unwrap();
    assert_eq!(refused.id.as_str(), CLIENT);
}

#[test]
fn members_are_those_of_one_trust_domain() {
    let other = World::new("other.org");
    let both = bundles(&[
        ("example.org", &World::shared().root),
        ("other.org", &other.root),
    ]);
    let mut setup = Setup::mutual();
    setup.server_trust = TrustCell::new(both);
    setup.server_accepts = PeerRule::Member(trust_domain("example.org"));
    assert!(setup.shake().is_ok());
    let foreign = IdentityCell::empty();
    foreign.install(key_of(&other, "spiffe://other.org/client", 7));
    setup.client = Some(foreign);
    assert_eq!(setup.shake().unwrap_err().code(), "peer_not_accepted");
    setup.server_accepts = PeerRule::Member(trust_domain("other.org"));
    assert!(setup.shake().is_ok());
}

#[test]
fn a_rule_is_shared_not_copied() {
    let rule = Arc::new(one_of(&[CLIENT]));
    let config = || {
        server_config(
            holding(WEB),
            TrustCell::new(World::shared().bundles()),
            rule.clone(),
            ClientAuth::Required,
            &[],
        )
    };
    let configs = [config(), config()];
    assert_eq!(Arc::strong_count(&rule), 1 + configs.len());
}

/// The client's view of a server whose leaf was valid for the last hour but one.
fn at_offset(seconds: i64) -> Result<Pair, Failed> {
    #[derive(Debug)]
    struct Shifted(i64);
    impl TimeProvider for Shifted {
        fn current_time(&self) -> Option<UnixTime> {
            let seconds = u64::try_from(now().as_second() + self.0).ok()?;
            Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
        }
    }
    let (server, client) = Setup::mutual().configs();
    let mut client = ClientConfig::clone(&client);
    client.time_provider = Arc::new(Shifted(seconds));
    shake(&server, &Arc::new(client))
}

#[test]
fn refusals_of_time_keep_their_tls_names() {
    assert!(at_offset(0).is_ok());
    let expired = Error::InvalidCertificate(CertificateError::Expired);
    assert_eq!(at_offset(3601).unwrap_err(), Failed::Client(expired));
    assert_eq!(at_offset(3601).unwrap_err().code(), "expired");
    let early = Error::InvalidCertificate(CertificateError::NotValidYet);
    assert_eq!(at_offset(-61).unwrap_err(), Failed::Client(early));
    assert_eq!(at_offset(-61).unwrap_err().code(), "not_yet_valid");
}

#[test]
fn refusals_of_the_chain_keep_their_codes() {
    let presenting = |change: &dyn Fn(&mut rcgen::CertificateParams)| {
        let world = World::shared();
        let key = certified_key(world.chain(change), &world.key.serialize_der()).unwrap();
        let mut setup = Setup::mutual();
        setup.server = IdentityCell::empty();
        setup.server.install(key);
        setup.shake().map(drop).map_err(|failed| failed.code())
    };
    assert_eq!(presenting(&|_| {}), Ok(()));
    let two = presenting(&|leaf| leaf.subject_alt_names.push(crate::pki::uri(CLIENT)));
    assert_eq!(two, Err("many_uri_sans"));
    let dots = presenting(&|leaf| {
        leaf.subject_alt_names = vec![crate::pki::uri("spiffe://example.org/../web")];
    });
    assert_eq!(dots, Err("path_dot_segment"));
}

/// By the clock that a daemon goes by, and not by that of the process.
#[test]
fn a_cell_with_a_clock_is_judged_by_it() {
    let judged = |seconds: i64| {
        let mut setup = Setup::mutual();
        let now = jiff::Timestamp::from_second(seconds).unwrap();
        setup.client_trust = TrustCell::with_clock(World::shared().bundles(), move || now);
        setup.shake().map(drop).map_err(|failed| failed.code())
    };
    let fixed = now().as_second();
    assert_eq!(judged(fixed), Ok(()));
    assert_eq!(judged(fixed + 1_000_000_000), Err("expired"));
}
