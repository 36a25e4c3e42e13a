//! Every reader of bytes from outside that this crate keeps to itself. Each says what it took in
//! canonical form, or that it took nothing.

use std::path::Path;

use countersign_ca::entries;
use countersign_ca::import::{self, Expected};
use countersign_issue::key::PublicKey;
use countersign_issue::key::block_list::BlockList;
use countersign_issue::request::Requested;
use countersign_model::TrustDomain;
use countersign_proto::admin;
use countersign_proto::log::entry::What;
use jiff::Timestamp;
use prost::Message;
use rustls_pki_types::CertificateDer;

use crate::admin::convert;

/// A certification request: its SubjectPublicKeyInfo.
pub fn request(bytes: &[u8]) -> Option<Vec<u8>> {
    let requested = Requested::read(bytes).ok()?;
    Some(requested.spki().to_vec())
}

/// A public key that may be certified: its SubjectPublicKeyInfo.
pub fn public_key(spki: &[u8]) -> Option<Vec<u8>> {
    let key = PublicKey::read(spki).ok()?;
    Some(key.spki().to_vec())
}

/// The operator's list of blocked keys: how many.
pub fn blocked_keys(text: &[u8]) -> Option<usize> {
    let list = BlockList::read(text).ok()?;
    Some(list.count())
}

/// An entry of the issuance log, written again.
pub fn entry(bytes: &[u8]) -> Option<Vec<u8>> {
    let (at, what) = entries::decode(bytes).ok()?;
    let what = match what? {
        What::Issued(issued) => entries::issued(&entries::issuance(at, issued).ok()?),
        other => other,
    };
    Some(entries::encode(at, what))
}

/// A registration that an operator asks for, as the model writes it.
pub fn registration(message: &[u8]) -> Option<Vec<u8>> {
    let asked = admin::Registration::decode(message).ok()?;
    let request = convert::registration_request(asked, Timestamp::UNIX_EPOCH).ok()?;
    Some(convert::registration(&request.registration).encode_to_vec())
}

/// Whether a foreign root's answer to our request for a certificate of this key and name is taken.
pub fn import(intermediate: &[u8], root: &[u8], spki: &[u8], name: &str, now: Timestamp) -> bool {
    let trust_domain = TrustDomain::new("example.org").expect("a name of ours");
    let expected = Expected {
        spki,
        common_name: name,
        trust_domain: &trust_domain,
        needed_until: now,
        now,
    };
    let certificate = |der: &[u8]| CertificateDer::from(der.to_vec());
    import::judge(&[certificate(intermediate)], &certificate(root), &expected).is_ok()
}

/// A backup, unpacked into a folder: the trust domain that its manifest names.
pub fn unpack(bytes: &[u8], to: &Path) -> Option<String> {
    let manifest = countersign_backup::unpack(bytes, to).ok()?;
    Some(manifest.trust_domain)
}

/// A backup of these files.
///
/// # Panics
/// Memory takes whatever is written.
pub fn packed(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut pack = countersign_backup::Pack::new(Vec::new());
    for (name, bytes) in files {
        pack.bytes(bytes, name).expect("memory takes it");
    }
    let manifest = countersign_backup::Manifest {
        format: countersign_backup::FORMAT,
        trust_domain: "example.org".to_owned(),
        epoch: 1,
        log_id: 1 << 20,
        log_size: 0,
        made_at: Timestamp::UNIX_EPOCH,
        with_keys: false,
        files: Default::default(),
    };
    pack.finish(manifest).expect("memory takes it")
}
