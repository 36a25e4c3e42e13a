//! Keys whose private half everybody has: published in standards and manuals, shipped as samples,
//! or the first multiples of a curve's base point. A certificate for one is a certificate for
//! everybody (CA/Browser Forum Baseline Requirements section 4.9.1.1, item 4).
//!
//! Deployments are copied from examples, keys and all.

use std::collections::HashSet;
use std::sync::LazyLock;

use super::SpkiHash;
use crate::Finding;
use crate::finding::require;

static HASHES: LazyLock<HashSet<SpkiHash>> = LazyLock::new(|| {
    let decoded = KEYS.iter().map(|(hash, _)| {
        let mut bytes = SpkiHash::default();
        hex::decode_to_slice(hash, &mut bytes).expect("64 hex digits, as a test shows");
        bytes
    });
    decoded.collect()
});

pub(super) fn check(spki_sha256: &SpkiHash) -> Result<(), Finding> {
    require(
        !HASHES.contains(spki_sha256),
        "key_known_bad",
        "the private half of this key is public",
        "CA/Browser Forum BR section 4.9.1.1",
    )
}

/// SHA-256 over the SubjectPublicKeyInfo, and where the key is published. A negative scalar counts
/// down from the order of the curve.
#[rustfmt::skip] // one key a line
pub(super) const KEYS: &[(&str, &str)] = &[
    ("5a7a78cca4a0f420d9bc62bb669c3c2759e39f723d3ae10dcbe0f0815a07ecd4", "RFC 6979 appendix A.2.5"),
    ("2f95601fa82060b909bfc6b979dbd303d34d34e0afb27ea496beac362f242a4b", "RFC 6979 appendix A.2.6"),
    ("2bd1bb0c44a897c30a7aa0991cde38d8062fe441de50da0f46825344f602e827", "RFC 7515 appendix A.3"),
    ("51b944cdfa544d4c3273aa6bf350625a7dd53bbb6a71723274f538b19a207760", "RFC 7517 appendix A.2, P-256"),
    ("ad32320cf6c596d884b05381ba573aba8ddd5749b4de8f4a23a79f9a89ddaeb2", "RFC 7517 appendix A.2, RSA"),
    ("a40f0f2e2974dc76a82df6ffe08ed0d79955c79e7ad0c20d97ae8f9246ade1c1", "the ES256 example of jwt.io"),
    ("f56c8b01227f62ddbc16eb29a6ac0b310e276760a5e06302fa881a35146f6bc7", "the RS256 example of jwt.io"),
    ("b2b04340cfaee616ec9c2c62d261b208e54bb197498df52e8cadede23ac0ba5e", "RFC 9500 section 2.3, testECCP256"),
    ("5cd252fb0ce8932436faf8ccd1040981b89ee4ad6b9fe9e2a2b7e71aacb27cd3", "P-256, scalar 1"),
    ("3fda76216227ff687422fb555d659338c62577cbc3e503dddc34b7f6f1abbde5", "P-256, scalar -1"),
    ("29f8fe74f38c49d49810cec736a26732a30bff2e64827b709a1c63340d4f7181", "P-384, scalar 1"),
    ("4257b2ffc3579064575e20fedb0974bbfc3c4438b09e668e85cb51a7ac7a4bd7", "P-384, scalar -1"),
    ("dc0ce633dbcc913dafafa4b89ac44d8ce683fdfc3f60c8bdf21213b9f2b534ba", "P-256, scalar 2"),
    ("092082dc6bab16d38178ab92008d240390854c0b94ea27e8a51b4d193aa3d2ad", "P-256, scalar -2"),
    ("e04caab525cff38094dc994b28e8873b81fc5c8d1f4ce89413ff8fb31670fa82", "P-384, scalar 2"),
    ("d27ad7051d31e9305bec6b702effaf9b8425150a80fbcf177b98722e33d96662", "P-384, scalar -2"),
    ("2b985badf1bac8293f6b92e8c0acc1139bc5a5ecbbf97a6271dcf0d4f6c68af6", "P-256, scalar 3"),
    ("7f39cf88ffa46e4f45b226fceaffec18a4b32c9d6edd00ebf6153ffc5b6b640a", "P-256, scalar -3"),
    ("86d5eff39312850996dac2e1bc3297a9fe58aa656947f3c35348e50e6a59ba08", "P-384, scalar 3"),
    ("e2599c8befc7e616472884eaccc46c9a0dfd3abcd1fae69b987e3d4877e4ed36", "P-384, scalar -3"),
    ("3eab3fba5026b61d007cbf411b90f3c88ff89cf0a8088cbbfc3eaaca867dd663", "P-256, scalar 4"),
    ("892a26f97e82f982b414063c45b21aa0658fc115c1505242b11f2d1fb278171d", "P-256, scalar -4"),
    ("63ecefee431d49523bc1136c4e72d0206a477086caf606cd5cf025686c109cf8", "P-384, scalar 4"),
    ("ab1597814c2d815c5eacb20a554927e0fa3a20e565d48d1a08dcc80c2c03236a", "P-384, scalar -4"),
    ("33b56859d49574d5a08a943b8775b453dd82cff09d987b3c6a843a917b2ae0df", "istio samples/certs/ca-cert.pem"),
    ("42d8cfd1102e06e3f2579e68f9db4f787ec9cbcd1f19f1bae7934cee918c2fef", "istio samples/certs/ca-cert.pem until 2024"),
    ("ee087b4b06e45ab3596dacd51ff5176c7b3f28196115374040f0269f4b36b5a9", "istio samples/certs/workload-foo-cert.pem"),
    ("c8867a44dbb0f1acf04a29353da61d361511782d9722357d140c163b5bcc001d", "istio samples/certs/workload-bar-cert.pem"),
    ("a1196859090ccf33cf5355055e04a0d6f3869eabbac7c4c417ee2b95cff013d4", "grpc src/core/tsi/test_creds/server1.pem"),
    ("c4c10105a0be0ed4dd3354428dc38a9bfee64da141ce16e75c94eda272f9dd3a", "RFC 9500 section 2.3, testECCP384"),
];
