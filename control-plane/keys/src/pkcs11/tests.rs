use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cryptoki::object::{Attribute, AttributeInfo, AttributeType, ObjectClass};
use x509_parser::prelude::FromDer;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::module::Module;
use super::testing::{SoftToken, with_token};
use super::*;
use crate::{Bounds, DeadlineKeyStore, Stores, deadline, testing};

macro_rules! this_test {
    ($name:literal) => {
        concat!(module_path!(), "::", $name)
    };
}

fn opened(token: &SoftToken) -> Pkcs11Keys {
    let keys = Pkcs11Keys::new(token.settings());
    keys.probe();
    assert_eq!(keys.condition(), Condition::ready());
    keys
}

fn verifies(key: &dyn CaKey, message: &[u8], signature: &[u8]) -> bool {
    let (_, spki) = SubjectPublicKeyInfo::from_der(key.spki()).unwrap();
    let point = spki.subject_public_key.data;
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point);
    key.verify(message, signature).is_ok()
}

#[test]
fn token_makes_a_key_and_signs() {
    with_token(this_test!("token_makes_a_key_and_signs"), |token| {
        let keys = opened(token);
        let made = keys.create().unwrap();
        assert_eq!(made.key_id(), key_id(made.spki()));
        let found = keys.load(made.key_id(), made.spki()).unwrap();
        let other = keys.create().unwrap();
        for message in [&b"a"[..], &[7; 5_000]] {
            let signature = found.sign(&ToBeSigned::for_test(message)).unwrap();
            assert!(verifies(made.as_ref(), message, &signature));
            assert!(!verifies(other.as_ref(), message, &signature));
        }
        let holds = |key: &dyn CaKey| keys.holds(key.key_id(), key.spki()).unwrap();
        assert!(holds(made.as_ref()));
        // What another process destroyed is not there, whatever was asked before.
        opened(token).destroy(made.key_id()).unwrap();
        assert!(!holds(made.as_ref()) && holds(other.as_ref()));
        keys.destroy(made.key_id()).unwrap();
        // Another process' store knows no handle of it.
        let again = opened(token).load(made.key_id(), made.spki()).unwrap();
        assert!(matches!(
            again.sign(&ToBeSigned::for_test(b"a")),
            Err(KeyError::Gone(_))
        ));
        other.sign(&ToBeSigned::for_test(b"a")).unwrap();
    });
}

#[test]
fn private_key_never_leaves_the_token() {
    with_token(this_test!("private_key_never_leaves_the_token"), |token| {
        let keys = opened(token);
        let made = keys.create().unwrap();
        let id = Attribute::Id(hex::decode(made.key_id()).unwrap());
        let asked = keys.0.ask(|open| {
            let session = open.session();
            let class = Attribute::Class(ObjectClass::PRIVATE_KEY);
            let key = session.find_objects(&[class, id.clone()])?[0];
            let value = session.get_attribute_info(key, &[AttributeType::Value])?;
            let extractable = session.get_attributes(key, &[AttributeType::NeverExtractable])?;
            Ok((value, extractable))
        });
        let (value, extractable) = asked.unwrap();
        assert!(matches!(value[..], [AttributeInfo::Sensitive]));
        assert_eq!(extractable, [Attribute::NeverExtractable(true)]);
    });
}

#[test]
fn wrong_pin_is_tried_once() {
    with_token(this_test!("wrong_pin_is_tried_once"), |token| {
        token.write_pin("000000");
        let keys = Pkcs11Keys::new(token.settings());
        keys.probe();
        assert_eq!(keys.condition().state, StoreState::WrongPin);
        let first = keys.condition().reason;
        assert!(first.contains("PIN"), "{first}");
        keys.probe();
        let second = keys.condition();
        assert_eq!(second.state, StoreState::WrongPin);
        assert!(second.reason.contains("unchanged"), "{second}");
        let refused = keys.create();
        assert!(matches!(refused, Err(KeyError::NotReady { .. })));
        assert!(!format!("{refused:?} {keys:?}").contains("000000"));
        token.write_pin(testing::PIN);
        keys.probe();
        assert_eq!(keys.condition(), Condition::ready());
        keys.create().unwrap();
    });
}

#[test]
fn pin_file_is_for_its_owner_alone() {
    with_token(this_test!("pin_file_is_for_its_owner_alone"), |token| {
        token.open_pin(0o640);
        let keys = Pkcs11Keys::new(token.settings());
        keys.probe();
        let condition = keys.condition();
        assert_eq!(condition.state, StoreState::Failed);
        assert!(condition.reason.contains("chmod 600"), "{condition}");
        token.open_pin(0o400);
        keys.probe();
        assert!(keys.condition().is_ready());
    });
}

#[test]
fn token_that_comes_back_signs_again() {
    with_token(this_test!("token_that_comes_back_signs_again"), |token| {
        let keys = opened(token);
        let key = keys.create().unwrap();
        key.sign(&ToBeSigned::for_test(b"before")).unwrap();
        token.pull_out();
        let refused = key.sign(&ToBeSigned::for_test(b"meanwhile")).unwrap_err();
        let KeyError::NotReady { store, condition } = refused else {
            panic!("{refused}");
        };
        let (absent, token_absent) = (StoreKind::Pkcs11, StoreState::TokenAbsent);
        assert_eq!((store, condition.state), (absent, token_absent));
        keys.probe();
        assert_eq!(keys.condition().state, StoreState::TokenAbsent);
        token.put_back();
        keys.probe();
        assert_eq!(keys.condition(), Condition::ready());
        let signature = key.sign(&ToBeSigned::for_test(b"after")).unwrap();
        assert!(verifies(key.as_ref(), b"after", &signature));
    });
}

/// A module whose calls do not return, and later do.
#[test]
fn token_that_hangs_is_said_and_comes_back() {
    let test = this_test!("token_that_hangs_is_said_and_comes_back");
    with_token(test, |token| {
        let bounds = Bounds {
            deadline: Duration::from_secs(2),
            ..deadline::TOKEN
        };
        let keys = Arc::new(Pkcs11Keys::new(token.settings()));
        let keys = DeadlineKeyStore::new(StoreKind::Pkcs11, keys, bounds);
        keys.probe();
        let key = keys.create().unwrap();
        key.sign(&ToBeSigned::for_test(b"before")).unwrap();

        let hang = token.hang();
        for _ in 0..2 {
            let refused = key.sign(&ToBeSigned::for_test(b"meanwhile")).unwrap_err();
            assert!(refused.to_string().contains("hung"), "{refused}");
        }
        keys.probe();
        assert_eq!(keys.condition().state, StoreState::Hung);
        drop(hang);
        let end = Instant::now() + Duration::from_secs(20);
        while !keys.condition().is_ready() {
            assert!(Instant::now() < end, "{}", keys.condition());
            std::thread::yield_now();
        }
        keys.probe();
        let signature = key.sign(&ToBeSigned::for_test(b"after")).unwrap();
        assert!(verifies(key.as_ref(), b"after", &signature));
    });
}

#[test]
fn idle_token_that_was_pulled_out_is_noticed() {
    let test = this_test!("idle_token_that_was_pulled_out_is_noticed");
    with_token(test, |token| {
        let keys = opened(token);
        token.pull_out();
        keys.probe();
        assert_eq!(keys.condition().state, StoreState::TokenAbsent);
    });
}

#[test]
fn restart_by_one_store_is_survived_by_another() {
    let test = this_test!("restart_by_one_store_is_survived_by_another");
    with_token(test, |token| {
        let (one, other) = (opened(token), opened(token));
        let key = one.create().unwrap();
        let theirs = other.load(key.key_id(), key.spki()).unwrap();
        theirs.sign(&ToBeSigned::for_test(b"a")).unwrap();
        token.pull_out();
        one.probe();
        token.put_back();
        one.probe();
        theirs.sign(&ToBeSigned::for_test(b"b")).unwrap();
        key.sign(&ToBeSigned::for_test(b"c")).unwrap();
    });
}

#[test]
fn more_callers_than_sessions_all_sign() {
    with_token(this_test!("more_callers_than_sessions_all_sign"), |token| {
        let keys = opened(token);
        let key = keys.create().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 * MAX_SESSIONS {
                scope.spawn(|| {
                    (0..8).for_each(|_| drop(key.sign(&ToBeSigned::for_test(b"a")).unwrap()));
                });
            }
        });
    });
}

#[test]
fn token_may_come_and_go_under_load() {
    with_token(this_test!("token_may_come_and_go_under_load"), |token| {
        let keys = opened(token);
        let key = keys.create().unwrap();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        match key.sign(&ToBeSigned::for_test(b"a")) {
                            Ok(signature) => assert!(verifies(key.as_ref(), b"a", &signature)),
                            Err(KeyError::NotReady { .. }) => std::thread::yield_now(),
                            Err(other) => panic!("{other}"),
                        }
                    }
                });
            }
            for _ in 0..20 {
                token.pull_out();
                keys.probe();
                token.put_back();
                keys.probe();
            }
            stop.store(true, Ordering::Relaxed);
        });
        keys.probe();
        key.sign(&ToBeSigned::for_test(b"a")).unwrap();
    });
}

/// Which of them a module lists first is another one from start to start.
#[test]
fn tokens_of_one_label_are_told_apart_by_serial() {
    let test = this_test!("tokens_of_one_label_are_told_apart_by_serial");
    with_token(test, |token| {
        token.initialise_another();
        let serials = token.serials();
        assert_eq!(serials.len(), 2, "{serials:?}");
        let of_serial = |serial: &str| Pkcs11Settings {
            serial: Some(serial.to_owned()),
            ..token.settings()
        };
        let first = Pkcs11Keys::new(of_serial(&serials[0]));
        first.probe();
        let made = first.create().unwrap();
        drop(first);

        let unsure = Pkcs11Keys::new(token.settings());
        let start_anew = || Module::at(&token.settings().module).restart().unwrap();
        for _ in 0..10 {
            start_anew();
            unsure.probe();
            let Condition { state, reason } = unsure.condition();
            assert_eq!(state, StoreState::TokenAmbiguous);
            assert!(serials.iter().all(|it| reason.contains(it)), "{reason}");
            assert!(reason.contains("ca.pkcs11.serial"), "{reason}");
            unsure.create().unwrap_err();
        }
        for _ in 0..10 {
            start_anew();
            for serial in &serials {
                let keys = Pkcs11Keys::new(of_serial(serial));
                keys.probe();
                assert_eq!(keys.condition(), Condition::ready());
                let found = keys.load(made.key_id(), made.spki());
                let is_there = found
                    .and_then(|key| key.sign(&ToBeSigned::for_test(b"a")))
                    .is_ok();
                assert_eq!(is_there, *serial == serials[0]);
            }
        }
        let nobody = Pkcs11Keys::new(of_serial("none"));
        nobody.probe();
        assert_eq!(nobody.condition().state, StoreState::TokenAbsent);
    });
}

#[test]
fn another_token_of_the_label_takes_no_place() {
    let test = this_test!("another_token_of_the_label_takes_no_place");
    with_token(test, |token| {
        let keys = opened(token);
        let key = keys.create().unwrap();
        token.pull_out();
        token.initialise_another();
        keys.probe();
        let Condition { state, reason } = keys.condition();
        assert_eq!(state, StoreState::TokenAbsent, "{reason}");
        assert!(reason.contains("which was opened first"), "{reason}");
        keys.create().unwrap_err();
        token.put_back();
        keys.probe();
        assert_eq!(keys.condition(), Condition::ready());
        key.sign(&ToBeSigned::for_test(b"a")).unwrap();
    });
}

#[test]
fn module_that_is_missing_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let pin_file = folder.path().join("pin");
    countersign_serve::durable_file::write(&pin_file, b"1234").unwrap();
    let settings = Pkcs11Settings {
        module: folder.path().join("no.so"),
        token: "countersign".to_owned(),
        serial: None,
        pin_file,
    };
    let stores = Stores::new(folder.path(), Some(&settings));
    stores.probe();
    let condition = stores.condition(StoreKind::Pkcs11).unwrap();
    assert_eq!(condition.state, StoreState::ModuleMissing);
    assert!(stores.create(StoreKind::Pkcs11).is_err());
    let mut registry = prometheus_client::registry::Registry::default();
    stores.register(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    for line in [
        "keystore_state{store=\"pkcs11\",state=\"module_missing\"} 1",
        "keystore_state{store=\"pkcs11\",state=\"ready\"} 0",
        "keystore_state{store=\"disk\",state=\"ready\"} 1",
        "keystore_operations_total{store=\"pkcs11\",op=\"create\",result=\"failed\"} 1",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
}
