//! What a consumer makes of the bytes that it is given.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use countersign_model::{Serial, TrustDomain};
use countersign_verify::TrustBundle;
use countersign_verify::tls::{certified_key, peer_of};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};

use super::Taken;

/// How far NotBefore lies before the time of issue, as control planes are configured.
const BACKDATED: Duration = Duration::from_secs(60);

/// A `TlsCertificate` of SDS with its key: the texts in PEM that lie in it.
pub(super) fn secret(id: &str, body: &[u8]) -> Result<Taken> {
    let chain = CertificateDer::pem_slice_iter(from(body, b"-----BEGIN CERTIFICATE-----")?);
    let chain = chain.collect::<Result<Vec<_>, _>>()?;
    let key = PrivatePkcs8KeyDer::from_pem_slice(from(body, b"-----BEGIN PRIVATE KEY-----")?)?;
    credential(id, chain, key.secret_pkcs8_der())
}

/// Only who has the key of a certificate can use it, and only for what that says.
pub(super) fn credential(
    id: &str,
    chain: Vec<CertificateDer<'static>>,
    pkcs8: &[u8],
) -> Result<Taken> {
    let leaf = peer_of(&chain).context("a leaf that is no SVID")?;
    ensure!(leaf.id.as_str() == id, "a certificate of {}", leaf.id);
    certified_key(chain.clone(), pkcs8).context("not the key of the certificate")?;
    Ok(Taken {
        chain,
        serial: Serial::from_bytes(&leaf.serial)?,
        issued_at: leaf.not_before.checked_add(BACKDATED)?,
        not_after: leaf.not_after,
    })
}

pub(super) fn bundle(roots: Vec<CertificateDer<'static>>) -> Result<Arc<TrustBundle>> {
    let trust_domain = TrustDomain::new("example.org")?;
    Ok(Arc::new(TrustBundle::new(trust_domain, roots)?))
}

/// Certificates in DER, one behind the other.
pub(super) fn certificates(mut bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    let mut certificates = Vec::new();
    while !bytes.is_empty() {
        // A sequence whose length is in the two bytes behind: no certificate of ours is shorter than
        // 256 bytes, or longer than 64 kB.
        let [0x30, 0x82, high, low, ..] = *bytes else {
            anyhow::bail!("no certificate");
        };
        let length = 4 + usize::from(u16::from_be_bytes([high, low]));
        let der = bytes.get(..length).context("a certificate that is cut")?;
        certificates.push(CertificateDer::from(der.to_vec()));
        bytes = &bytes[length..];
    }
    Ok(certificates)
}

fn from<'a>(body: &'a [u8], mark: &[u8]) -> Result<&'a [u8]> {
    let mut windows = body.windows(mark.len());
    let begin = windows.position(|window| window == mark);
    Ok(&body[begin.context("no PEM")?..])
}
