//! What each step before a signature costs beside what no control plane can do without: checking
//! the proof of possession, building the certificate, signing it.
//!
//! Run: `cargo bench -p countersign-benches --bench pipeline`

use anyhow::Result;
use countersign_benches::issuance::prepared::key;
use countersign_benches::issuance::primitive::{Primitive, prepared};
use countersign_benches::steps::Steps;
use countersign_benches::{Contestant, compare};
use rcgen::{KeyPair, PKCS_RSA_SHA256, PublicKeyData, RsaKeySize};

/// As in the control plane, so that what is compared allocates alike.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<()> {
    let primitive = Primitive::new()?;
    let request = prepared();
    let steps = Steps::new(&key().subject_public_key_info());
    let rsa = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?;
    let rsa = Steps::new(&rsa.subject_public_key_info());
    let certificate = steps.prepared();
    compare(
        "the steps before a signature, one certificate",
        vec![
            Contestant::new("primitive: verify proof, build, sign", || {
                primitive.issue(&request).expect("it is issued")
            }),
            Contestant::new("admission queue, in and out", || steps.admit()),
            Contestant::new("authorize, with policy", || steps.authorize()),
            Contestant::new("judge the key, P-256", || steps.judge_key()),
            Contestant::new("judge the key, RSA of 2048 bits", || rsa.judge_key()),
            Contestant::new("build what is to be signed", || steps.build()),
            Contestant::new("lint: read it back, 29 rules", || steps.lint(&certificate)),
            Contestant::new("encode the entry of the log", || steps.encode_entry()),
        ],
    );
    Ok(())
}
