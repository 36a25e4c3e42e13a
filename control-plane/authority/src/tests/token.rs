//! CAs whose keys are in a token that comes and goes.

use countersign_keys::testing::{PIN, SoftToken, with_token};

use super::super::{StoreKind, StoreState};
use super::*;

macro_rules! this_test {
    ($name:literal) => {
        concat!(module_path!(), "::", $name)
    };
}

fn run(body: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread();
    { runtime }
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(body);
}

fn in_token(settings: &mut Settings, token: &SoftToken) {
    settings.hierarchy.root = Some(StoreKind::Pkcs11);
    settings.hierarchy.issuing = StoreKind::Pkcs11;
    settings.hierarchy.pkcs11 = Some(token.settings());
}

fn state(plane: &Plane) -> StoreState {
    let stores = plane.authority.key_stores();
    let token = stores.into_iter().find(|it| it.0 == StoreKind::Pkcs11);
    token.unwrap().1.state
}

#[test]
fn token_that_is_away_makes_issuing_wait() {
    let test = this_test!("token_that_is_away_makes_issuing_wait");
    with_token(test, |token| {
        run(async {
            let plane = Plane::with(|settings| in_token(settings, token)).await;
            let node = plane.attest("/node/a").await;
            plane.enrol(&node, &EntitlementId::node()).await;
            let keys = plane.dir.path().join("cp/keys").read_dir().unwrap().count();
            assert_eq!(keys, 0, "no key is on disk");
            token.pull_out();
            let own = EntitlementId::node();
            let key = proven(&fresh_key(), &own);
            let refused = plane.authority.enrol(&node, &own, &key, after(1)).await;
            assert!(matches!(refused, Err(AuthorityError::Unavailable(_))));
            assert_eq!(state(&plane), StoreState::TokenAbsent);
            let logged = plane.authority.ledger.log().size();
            let key = proven(&fresh_key(), &own);
            let refused = plane.authority.enrol(&node, &own, &key, after(1)).await;
            assert!(matches!(refused, Err(AuthorityError::Unavailable(_))));
            assert_eq!(
                plane.authority.ledger.log().size(),
                logged,
                "known before it is logged"
            );
            let obstacles = plane.authority.obstacles(after(1));
            assert!(obstacles[0].contains("token_absent"), "{obstacles:?}");
            plane.authority.tick(after(2)).await.unwrap();

            token.put_back();
            plane.authority.probe_keys();
            let key = proven(&fresh_key(), &own);
            let svid = plane.authority.enrol(&node, &own, &key, after(3)).await;
            certificates::verify(&plane, &svid.unwrap().chain(), after(4));
            assert!(plane.authority.obstacles(after(4)).is_empty());
        });
    });
}

#[test]
fn restart_without_the_token_serves_what_is_there() {
    let test = this_test!("restart_without_the_token_serves_what_is_there");
    with_token(test, |token| {
        run(async {
            let plane = Plane::with(|settings| in_token(settings, token)).await;
            let node = plane.attest("/node/a").await;
            let svid = plane.enrol(&node, &EntitlementId::node()).await;
            let issuing = plane.authority.tiers().issuing[0].key_id.clone();
            token.pull_out();
            let plane = plane.restart(after(1)).await;
            let found = plane.authority.published(&svid.node, &svid.entitlement);
            assert_eq!(found.unwrap().chain(), svid.chain());
            assert!(plane.authority.server_identity(after(2)).await.is_err());
            token.put_back();
            plane.authority.probe_keys();
            plane.authority.server_identity(after(3)).await.unwrap();
            assert_eq!(plane.authority.tiers().issuing[0].key_id, issuing);
        });
    });
}

#[test]
fn wrong_pin_at_first_start_is_mended_without_a_restart() {
    let test = this_test!("wrong_pin_at_first_start_is_mended_without_a_restart");
    with_token(test, |token| {
        run(async {
            token.write_pin("000000");
            let plane = Plane::with(|settings| in_token(settings, token)).await;
            assert_eq!(state(&plane), StoreState::WrongPin);
            assert!(plane.authority.first_bundle().is_none());
            plane.authority.tick(after(1)).await.unwrap();
            token.write_pin(PIN);
            plane.authority.probe_keys();
            plane.authority.tick(after(2)).await.unwrap();
            let identity = plane.authority.server_identity(after(3)).await.unwrap();
            certificates::verify(&plane, &identity.chain, after(4));
        });
    });
}

#[test]
fn tiers_may_live_in_different_stores() {
    with_token(this_test!("tiers_may_live_in_different_stores"), |token| {
        run(async {
            let spread = |settings: &mut Settings| {
                let year = Duration::from_secs(86_400 * 365);
                settings.hierarchy.intermediate = Some((StoreKind::Pkcs11, year));
                settings.hierarchy.issuing = StoreKind::Memory;
                settings.hierarchy.pkcs11 = Some(token.settings());
            };
            let plane = Plane::with(spread).await;
            let stores = |plane: &Plane| {
                let tiers = plane.authority.tiers();
                let newest = [&tiers.roots[0], &tiers.intermediates[0], &tiers.issuing[0]];
                newest.map(|ca| ca.store.unwrap())
            };
            let expected = [StoreKind::Disk, StoreKind::Pkcs11, StoreKind::Memory];
            assert_eq!(stores(&plane), expected);
            let plane = plane.restart(after(60)).await;
            assert_eq!(stores(&plane), expected);
            let tiers = plane.authority.tiers();
            assert_eq!((tiers.intermediates.len(), tiers.issuing.len()), (1, 2));
            let node = plane.attest("/node/a").await;
            let svid = plane.enrol(&node, &EntitlementId::node()).await;
            certificates::verify(&plane, &svid.chain(), after(61));

            // What a tier's store is set to counts for new keys; old ones are where they are.
            let in_token = |settings: &mut Settings| {
                settings.hierarchy.issuing = StoreKind::Pkcs11;
            };
            let plane = plane.changed(in_token, after(120)).await;
            assert_eq!(stores(&plane)[2], StoreKind::Pkcs11);

            let Plane { dir, authority } = plane;
            let mut forgetful = authority.settings.clone();
            forgetful.hierarchy.pkcs11 = None;
            drop(authority);
            let refused = Authority::open(forgetful, after(180)).await;
            assert_eq!(code(refused), "key_store_not_configured");
            drop(dir);
        });
    });
}
