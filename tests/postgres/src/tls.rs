//! Certificates of database servers, and the authorities that sign them.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use crate::folder;
use crate::installed::INSTALLED;

/// What servers are called, unless a test says otherwise.
pub const NAMES: [&str; 2] = ["localhost", "127.0.0.1"];

static AUTHORITY: LazyLock<Authority> = LazyLock::new(Authority::make);

/// The authority of all servers of this process, unless a test says otherwise.
#[must_use]
pub fn authority() -> &'static Authority {
    &AUTHORITY
}

/// An authority, with its certificate in a file.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    path: PathBuf,
}

impl Authority {
    /// Makes one that nobody trusts yet.
    #[must_use]
    pub fn make() -> Self {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "database authority of a test");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let path = folder::make().join("ca.pem");
        std::fs::write(&path, params.self_signed(&key).unwrap().pem()).unwrap();
        let issuer = Issuer::new(params, key);
        Self { issuer, path }
    }

    /// The file of its certificate.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a server's certificate, and its key, into a folder.
    pub(crate) fn certify(&self, names: &[&str], folder: &Path) {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params
            .distinguished_name
            .push(DnType::CommonName, "database of a test");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(certificate_in(folder), certificate.pem()).unwrap();
        write_key(&key_in(folder), &key.serialize_pem());
    }
}

pub(crate) fn certificate_in(folder: &Path) -> PathBuf {
    folder.join("server.pem")
}

pub(crate) fn key_in(folder: &Path) -> PathBuf {
    folder.join("server.key")
}

/// A server refuses a key that others may read.
fn write_key(path: &Path, pem: &str) {
    std::fs::write(path, "").unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(path, pem).unwrap();
    INSTALLED.give(path);
}
