//! Every target on changed valid values: the same ones each time, and bounded.

use countersign_fuzz::{TARGETS, Target, smoke};

/// Where the generators of the smoke tests begin.
const FIRST: u64 = 0x5eed_0000;

fn reads(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name);
    holds(target.expect("a target of that name"));
}

/// Nothing fails, and changed values are taken unless the target says why none can be.
fn holds(target: &Target) {
    let Target { name, rounds, .. } = target;
    match smoke::run(target, FIRST, *rounds) {
        Ok(taken) => match target.sealed {
            None => assert!(taken > 0, "{name}: no changed value was taken"),
            Some(why) => assert_eq!(taken, 0, "{name} took changed values, but {why}"),
        },
        Err(failure) => panic!(
            "seed {}, again with `cargo run -p countersign-fuzz -- {name} 1 {0}`\n{}",
            failure.seed, failure.input
        ),
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
    address authority_field backup blocked_keys bundle certificate certification_request configuration
    discovery_request discovery_response duration enrolment entitlement foreign_root grpc_timeout
    header_blocks indexed_fields invitation key_proof log_entry log_files log_proof policy process_stat public_key registration
    registration_file revocation_list secret selector serial spiffe_id
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
        sealed: None,
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
        sealed: None,
    };
    let _ = smoke::run(&blind, FIRST, 0);
}

/// Takes its one valid value only.
const PICKY: Target = Target {
    name: "picky",
    run: |bytes| bytes == b"valid",
    seeds: || vec![b"valid".to_vec()],
    rounds: 1_000,
    sealed: None,
};

#[test]
#[should_panic(expected = "picky: no changed value was taken")]
fn a_changed_value_must_be_taken() {
    holds(&PICKY);
}

#[test]
fn a_sealed_target_takes_none() {
    holds(&Target {
        sealed: Some("it compares"),
        ..PICKY
    });
}

#[test]
#[should_panic(expected = "open took changed values, but it compares")]
fn a_seal_that_is_open_is_noticed() {
    holds(&Target {
        name: "open",
        run: |_| true,
        sealed: Some("it compares"),
        ..PICKY
    });
}
