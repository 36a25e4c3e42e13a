//! Fuzz targets: one for each reader of bytes that somebody else wrote.
//!
//! A target is a file of [`targets`] with two functions. `run` takes any bytes, asserts what must
//! hold whatever they are (no panic, bounds, what was read is read again from what it writes) and
//! says whether they were taken. `seeds` makes valid values in code, all of which must be taken.
//! [`smoke`] runs a target on changed seeds, the same ones each time: a part of `make test`, which
//! asks that some of them are taken, or none of a target that says why. The program runs one for
//! longer, from another start.
//!
//! A new target is a file and a line in [`TARGETS`]; a test of that name follows in `tests/smoke.rs`.

mod mutate;
pub mod smoke;
pub mod targets;

use targets::*;

/// A reader under test.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The name of its file.
    pub name: &'static str,
    /// Reads bytes and asserts; whether they were taken.
    pub run: fn(&[u8]) -> bool,
    /// Valid values.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// How many changed seeds a smoke test reads: fewer where each touches the disk.
    pub rounds: u64,
    /// Why no changed value can be taken, where that is so. Of every other target a smoke test must
    /// take one, or it would look no further than the first refusal.
    pub sealed: Option<&'static str>,
}

macro_rules! target {
    ($name:ident, $rounds:expr) => {
        target!($name, $rounds, None)
    };
    ($name:ident, $rounds:expr, $sealed:expr) => {
        Target {
            name: stringify!($name),
            run: $name::run,
            seeds: $name::seeds,
            rounds: $rounds,
            sealed: $sealed,
        }
    };
}

// Why some targets are sealed.
const SIGNED_WHOLE: Option<&str> = Some("a signature covers every byte, and is checked");
const SIGNED_BY_KEY: Option<&str> = Some("the key in it signed the rest, and that is checked");

/// Every target.
pub const TARGETS: &[Target] = &[
    target!(address, 50_000),
    target!(authority_field, 20_000),
    target!(backup, 500),
    target!(blocked_keys, 20_000),
    target!(bundle, 5_000),
    target!(certificate, 3_000),
    target!(certification_request, 4_000),
    target!(configuration, 1_000),
    target!(discovery_request, 20_000),
    target!(discovery_response, 20_000),
    target!(duration, 50_000),
    target!(enrolment, 20_000),
    target!(entitlement, 10_000),
    target!(foreign_root, 5_000, SIGNED_WHOLE),
    target!(grpc_timeout, 20_000),
    target!(header_blocks, 2_000),
    target!(indexed_fields, 10_000),
    target!(invitation, 20_000),
    target!(key_proof, 10_000, SIGNED_BY_KEY),
    target!(log_entry, 10_000),
    target!(log_files, 100),
    target!(log_proof, 50_000),
    target!(policy, 1_500),
    target!(process_stat, 50_000),
    target!(public_key, 10_000),
    target!(registration, 20_000),
    target!(registration_file, 10_000),
    target!(revocation_list, 5_000, SIGNED_WHOLE),
    target!(secret, 10_000),
    target!(selector, 50_000),
    target!(serial, 50_000),
    target!(spiffe_id, 50_000),
];
