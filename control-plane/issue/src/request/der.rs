//! The shape of DER, before anybody asks what it means: definite lengths that fit, and a depth that
//! is bounded, in everything that is constructed.

use x509_cert::der::asn1::AnyRef;
use x509_cert::der::{Decode, Encode, Header, Reader, SliceReader, Tag};

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

/// What of a request is signed, as it came: its first value.
pub(super) fn signed_part(request: &[u8]) -> Result<&[u8], RequestError> {
    let inner = contents(request)?;
    let (_, _, rest) = split(inner)?;
    Ok(&inner[..inner.len() - rest.len()])
}

/// The request with an empty attributes field where it has none. RFC 2986 demands the field; there
/// are encoders that leave an empty one out, and OpenSSL takes that.
pub(super) fn with_attributes(request: &[u8]) -> Result<Vec<u8>, RequestError> {
    let part = signed_part(request)?;
    let fields = contents(part)?;
    let mut rest = fields;
    for _ in FIELDS_BEFORE_ATTRIBUTES {
        (_, _, rest) = split(rest)?;
    }
    if !rest.is_empty() {
        return Ok(request.to_vec());
    }
    let signed = sequence(&[fields, NO_ATTRIBUTES].concat())?;
    let others = &contents(request)?[part.len()..];
    sequence(&[&signed, others].concat())
}

fn sequence(contents: &[u8]) -> Result<Vec<u8>, RequestError> {
    let value = AnyRef::new(Tag::Sequence, contents);
    let value = value.map_err(|_| RequestError::NotDer)?;
    value.to_der().map_err(|_| RequestError::NotDer)
}

const FIELDS_BEFORE_ATTRIBUTES: [&str; 3] = ["version", "subject", "subjectPKInfo"];
/// `[0]` without contents.
const NO_ATTRIBUTES: &[u8] = &[0xa0, 0];

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
