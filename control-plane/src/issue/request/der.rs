//! The shape of DER, before anybody asks what it means: definite lengths that fit, and a depth that
//! is bounded, in everything that is constructed.

use x509_cert::der::{Decode, Header, Reader, SliceReader};

use super::RequestError;

/// One value and nothing after it, no deeper than `depth`.
pub(super) fn check(bytes: &[u8], depth: usize) -> Result<(), RequestError> {
    let (header, contents, rest) = split(bytes)?;
    if !rest.is_empty() {
        return Err(RequestError::TrailingBytes);
    }
    if header.tag().is_constructed() {
        descend(contents, depth)?;
    }
    Ok(())
}

/// The contents of one value.
pub(super) fn contents(bytes: &[u8]) -> Result<&[u8], RequestError> {
    split(bytes).map(|(_, contents, _)| contents)
}

fn descend(mut values: &[u8], depth: usize) -> Result<(), RequestError> {
    let depth = depth.checked_sub(1).ok_or(RequestError::TooDeep)?;
    while !values.is_empty() {
        let (header, contents, rest) = split(values)?;
        if header.tag().is_constructed() {
            descend(contents, depth)?;
        }
        values = rest;
    }
    Ok(())
}

/// The first value: its header and contents, and what follows.
fn split(bytes: &[u8]) -> Result<(Header, &[u8], &[u8]), RequestError> {
    let not_der = |_| RequestError::NotDer;
    let mut reader = SliceReader::new(bytes).map_err(not_der)?;
    let header = Header::decode(&mut reader).map_err(not_der)?;
    let contents = reader.read_slice(header.length()).map_err(not_der)?;
    let rest = reader.remaining_len();
    let rest = usize::try_from(rest).map_err(not_der)?;
    Ok((header, contents, &bytes[bytes.len() - rest..]))
}
