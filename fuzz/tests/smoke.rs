//! Every target on changed valid values: the same ones each time, and bounded.

use countersign_fuzz::{TARGETS, Target, smoke};

/// Where the generators of the smoke tests begin.
const FIRST: u64 = 0x5eed_0000;

fn reads(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name);
    let target = target.expect("a target of that name");
    if let Err(failure) = smoke::run(target, FIRST, target.rounds) {
        panic!(
            "seed {}, again with `cargo run -p countersign-fuzz -- {name} 1 {0}`\n{}",
            failure.seed, failure.input
        );
    }
}

macro_rules! tests {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            reads(stringify!($name));
        })*

        #[test]
        fn every_target_has_its_test() {
            let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(names, [$(stringify!($name)),*]);
        }
    };
}

tests! {
    authority_field backup blocked_keys bundle certificate certification_request configuration
    discovery_request discovery_response duration entitlement foreign_root grpc_timeout key_proof
    log_entry log_files log_proof policy process_stat public_key registration revocation_list secret
    selector serial spiffe_id
}

#[test]
fn a_failure_names_its_seed() {
    let clumsy = Target {
        name: "clumsy",
        run: |bytes| {
            assert!(bytes.len() < 6, "a bug");
            true
        },
        seeds: || vec![b"valid".to_vec()],
        rounds: 0,
    };
    let failure = smoke::run(&clumsy, FIRST, 1_000).expect_err("some grow");
    assert!(hex::decode(&failure.input).is_ok_and(|input| input.len() >= 6));
    let again = smoke::run(&clumsy, failure.seed, 1).expect_err("the same again");
    assert_eq!(again.input, failure.input);
}

#[test]
#[should_panic(expected = "valid value 0")]
fn a_valid_value_must_be_taken() {
    let blind = Target {
        name: "blind",
        run: |_| false,
        seeds: || vec![Vec::new()],
        rounds: 0,
    };
    let _ = smoke::run(&blind, FIRST, 0);
}
