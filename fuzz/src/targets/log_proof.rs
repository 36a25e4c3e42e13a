//! Proofs that an entry is in a log, as anybody may hand them to an auditor.

use countersign_audit::Proof;

use super::material::texts;

/// What is taken reads the same from what it is written as.
pub fn run(data: &[u8]) -> bool {
    let Some(proof) = Proof::parse(data) else {
        return false;
    };
    assert_eq!(
        proof.to_text().as_bytes(),
        data,
        "a proof is written in one way"
    );
    true
}

/// Of the only entry, and of one in a larger tree.
pub fn seeds() -> Vec<Vec<u8>> {
    let hash = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let checkpoint = format!("example.org/log\n1\n{hash}\n\n\u{2014} example.org/log AAAA\n");
    let alone = format!("c2sp.org/tlog-proof@v1\nextra CAES\nindex 0\n\n{checkpoint}");
    let one_of_many =
        format!("c2sp.org/tlog-proof@v1\nextra CAES\nindex 5\n{hash}\n{hash}\n\n{checkpoint}");
    texts(&[&alone, &one_of_many])
}
