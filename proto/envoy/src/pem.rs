//! PEM (RFC 7468): 64 columns, strict labels.
//!
//! Its frame is written here because the buffers that hold a private key must have their final size from the
//! start: one that grows leaves copies behind that nobody wipes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use countersign_verify::pem::{self, Bounds, PemError};
use rustls_pki_types::CertificateDer;

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
pub(crate) fn read_certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, SecretError> {
    let bounds = Bounds {
        text: text.len(),
        blocks: MAX_CERTIFICATES,
        block: text.len(),
    };
    let blocks = pem::read(text, pem::CERTIFICATE, bounds).map_err(|error| match error {
        PemError::NoBlock { .. } => SecretError("no certificate"),
        PemError::TooMany { .. } => SecretError("too many certificates"),
        PemError::OtherKind { .. } => SecretError("PEM of another kind than a certificate"),
        _ => SecretError("not PEM"),
    })?;
    Ok(blocks.into_iter().map(CertificateDer::from).collect())
}

fn push_block(pem: &mut Vec<u8>, label: &str, der: &[u8]) {
    for part in [BEGIN, label, DASHES] {
        pem.extend_from_slice(part.as_bytes());
    }
    for line in der.chunks(BYTES_PER_LINE) {
        // In its place at once: what is a key is nowhere else.
        let start = pem.len();
        pem.resize(start + base64_len(line), 0);
        let encoded = STANDARD.encode_slice(line, &mut pem[start..]);
        encoded.expect("there is room for all of it");
        pem.push(b'\n');
    }
    for part in [END, label, DASHES] {
        pem.extend_from_slice(part.as_bytes());
    }
}

fn block_len(label: &str, der: &[u8]) -> usize {
    let frame = BEGIN.len() + END.len() + 2 * (label.len() + DASHES.len());
    frame + base64_len(der) + der.len().div_ceil(BYTES_PER_LINE)
}

fn base64_len(bytes: &[u8]) -> usize {
    bytes.len().div_ceil(3) * 4
}

const BYTES_PER_LINE: usize = 48;
const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----\n";
