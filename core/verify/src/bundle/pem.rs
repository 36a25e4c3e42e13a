//! PEM for trust bundles (RFC 7468), strict: one pass over the lines, and no line is skipped.
//!
//! A lenient reader passes over what it does not know, so a private key, a half-written block or
//! an HTML error page would be a shorter bundle instead of a mistake.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateDer;

use super::{BundleError, MAX_PEM_BYTES, MAX_ROOT_BYTES, MAX_ROOTS};

/// Reads `CERTIFICATE` blocks separated by nothing but blank lines.
pub(super) fn decode(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, BundleError> {
    let bytes = pem.len();
    if bytes > MAX_PEM_BYTES {
        return Err(BundleError::PemTooLarge { bytes });
    }
    let mut certificates = Vec::new();
    let mut body: Option<Vec<u8>> = None;
    let mut line_number = 0;
    for (number, line) in (1..).zip(pem.split(|byte| *byte == b'\n')) {
        line_number = number;
        let line = line.trim_ascii_end();
        body = match body {
            None if line.is_empty() => None,
            None if line == BEGIN => Some(Vec::new()),
            Some(base64) if line == END => {
                let der = STANDARD.decode(base64);
                let der = der.map_err(|_| BundleError::Pem { line: number })?;
                if certificates.len() == MAX_ROOTS {
                    return Err(BundleError::TooMany);
                }
                certificates.push(CertificateDer::from(der));
                None
            }
            Some(mut base64) if is_base64(line) && base64.len() + line.len() <= MAX_BLOCK_BYTES => {
                base64.extend_from_slice(line);
                Some(base64)
            }
            _ => return Err(BundleError::Pem { line: number }),
        };
    }
    match body {
        None => Ok(certificates),
        Some(_) => Err(BundleError::Pem { line: line_number }),
    }
}

/// One `CERTIFICATE` block (RFC 7468 section 5) with lines of 64 characters.
pub fn encode(der: &[u8]) -> String {
    let base64 = STANDARD.encode(der);
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, tail) = rest.split_at(rest.len().min(LINE_CHARACTERS));
        text.push_str(line);
        text.push('\n');
        rest = tail;
    }
    text.push_str("-----END CERTIFICATE-----\n");
    text
}

/// One line of a block. Whether the whole decodes is known at its end.
fn is_base64(line: &[u8]) -> bool {
    let digit = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=');
    !line.is_empty() && line.iter().all(digit)
}

const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
const END: &[u8] = b"-----END CERTIFICATE-----";
const LINE_CHARACTERS: usize = 64;
/// Most base64 characters of one block.
const MAX_BLOCK_BYTES: usize = MAX_ROOT_BYTES.div_ceil(3) * 4;
