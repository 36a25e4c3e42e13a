//! PEM (RFC 7468): 64 columns, strict labels.
//!
//! Written here because the buffers that hold a private key must have their final size from the
//! start: one that grows leaves copies behind that nobody wipes.

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::{PemObject, SectionKind};

use crate::SecretError;

/// Most certificates of one secret.
pub(crate) const MAX_CERTIFICATES: usize = 64;

pub(crate) fn certificates(certificates: &[CertificateDer<'_>]) -> Vec<u8> {
    let ders = certificates.iter().map(AsRef::as_ref);
    let length = ders.clone().map(|der| block_len("CERTIFICATE", der)).sum();
    let mut pem = Vec::with_capacity(length);
    ders.for_each(|der| push_block(&mut pem, "CERTIFICATE", der));
    pem
}

/// The caller wipes what it gets.
pub(crate) fn private_key(pkcs8: &[u8]) -> Vec<u8> {
    let mut pem = Vec::with_capacity(block_len("PRIVATE KEY", pkcs8));
    push_block(&mut pem, "PRIVATE KEY", pkcs8);
    pem
}

/// Reads certificates, at least one, and nothing but certificates.
pub(crate) fn read_certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, SecretError> {
    let mut certificates = Vec::new();
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(pem) {
        let (kind, der) = section.map_err(|_| SecretError("not PEM"))?;
        if kind != SectionKind::Certificate {
            return Err(SecretError("PEM of another kind than a certificate"));
        }
        if certificates.len() == MAX_CERTIFICATES {
            return Err(SecretError("too many certificates"));
        }
        certificates.push(CertificateDer::from(der));
    }
    match certificates.is_empty() {
        true => Err(SecretError("no certificate")),
        false => Ok(certificates),
    }
}

fn push_block(pem: &mut Vec<u8>, label: &str, der: &[u8]) {
    for part in [BEGIN, label, DASHES] {
        pem.extend_from_slice(part.as_bytes());
    }
    for line in der.chunks(BYTES_PER_LINE) {
        line.chunks(3).for_each(|group| pem.extend(quartet(group)));
        pem.push(b'\n');
    }
    for part in [END, label, DASHES] {
        pem.extend_from_slice(part.as_bytes());
    }
}

/// Base64 of one to three bytes.
fn quartet(group: &[u8]) -> [u8; 4] {
    let byte = |i: usize| u32::from(group.get(i).copied().unwrap_or_default());
    let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
    let digit = |shift: u32| ALPHABET[(bits >> shift & 0x3f) as usize];
    let padded = |i: usize, shift| if i < group.len() { digit(shift) } else { b'=' };
    [digit(18), digit(12), padded(1, 6), padded(2, 0)]
}

fn block_len(label: &str, der: &[u8]) -> usize {
    let frame = BEGIN.len() + END.len() + 2 * (label.len() + DASHES.len());
    frame + der.len().div_ceil(3) * 4 + der.len().div_ceil(BYTES_PER_LINE)
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const BYTES_PER_LINE: usize = 48;
const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----\n";
