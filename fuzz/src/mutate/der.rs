//! Changes of DER that keep its lengths right: so a change deep in a certificate reaches the reader
//! of that place, and not only the one of the outermost length.

use fastrand::Rng;

/// Deepest nesting that is followed.
const MAX_DEPTH: usize = 24;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const CONSTRUCTED: u8 = 0x20;
/// Tags of several bytes begin so.
const LONG_TAG: u8 = 0x1f;
/// What a tag may become.
const TAGS: &[u8] = &[
    0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0c, 0x13, 0x16, 0x17, 0x18, 0x30, 0x31, 0x80, 0x82, 0x86,
    0xa0, 0xa3,
];

/// One value.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Value {
    tag: u8,
    /// What stands before other values, or alone: a BIT STRING around DER has a zero there.
    bytes: Vec<u8>,
    values: Vec<Value>,
}

/// A copy in which one value was changed; `None` where the bytes are no DER.
pub(super) fn changed(rng: &mut Rng, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut top = values(bytes, MAX_DEPTH).filter(|top| !top.is_empty())?;
    let count: usize = top.iter().map(Value::count).sum();
    let other = nth(&mut top, rng.usize(0..count))?.clone();
    let chosen = nth(&mut top, rng.usize(0..count))?;
    change(rng, chosen, other);
    Some(top.iter().flat_map(Value::encode).collect())
}

fn change(rng: &mut Rng, value: &mut Value, other: Value) {
    let at = rng.usize(0..=value.values.len());
    match rng.u8(0..7) {
        0 => value.tag = rng.choice(TAGS).copied().unwrap_or_default(),
        1 => drop(value.values.pop()),
        2 => value.values.insert(at, other),
        3 => *value = other,
        4 => value.values.rotate_left(at),
        5 => {
            let at = rng.usize(0..=value.bytes.len());
            value.bytes.insert(at, rng.u8(..));
        }
        _ => {
            let at = rng.usize(0..=value.bytes.len());
            match value.bytes.get_mut(at) {
                Some(byte) => *byte ^= 1 << rng.u8(0..8),
                None => drop(value.bytes.pop()),
            }
        }
    }
}

/// Values one after the other and nothing else.
fn values(mut bytes: &[u8], depth: usize) -> Option<Vec<Value>> {
    let depth = depth.checked_sub(1)?;
    let mut values = Vec::new();
    while !bytes.is_empty() {
        let (value, rest) = value(bytes, depth)?;
        values.push(value);
        bytes = rest;
    }
    Some(values)
}

fn value(bytes: &[u8], depth: usize) -> Option<(Value, &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    if tag & LONG_TAG == LONG_TAG {
        return None;
    }
    let (length, rest) = length(rest)?;
    let (contents, rest) = rest.split_at_checked(length)?;
    let prefix = usize::from(*tag == BIT_STRING).min(contents.len());
    let is_shell = tag & CONSTRUCTED != 0 || [BIT_STRING, OCTET_STRING].contains(tag);
    let inner = is_shell
        .then(|| values(&contents[prefix..], depth))
        .flatten();
    let value = match inner {
        Some(values) => Value {
            tag: *tag,
            bytes: contents[..prefix].to_vec(),
            values,
        },
        None => Value {
            tag: *tag,
            bytes: contents.to_vec(),
            values: Vec::new(),
        },
    };
    Some((value, rest))
}

fn length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (first, rest) = bytes.split_first()?;
    let following = match first {
        0..=0x7f => return Some((usize::from(*first), rest)),
        0x81 => 1,
        0x82 => 2,
        _ => return None,
    };
    let (length, rest) = rest.split_at_checked(following)?;
    let length = length
        .iter()
        .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    Some((length, rest))
}

/// One of all values, in the order in which they begin.
fn nth(values: &mut [Value], mut place: usize) -> Option<&mut Value> {
    for value in values {
        let count = value.count();
        if place == 0 {
            return Some(value);
        }
        if place < count {
            return nth(&mut value.values, place - 1);
        }
        place -= count;
    }
    None
}

impl Value {
    /// With all that is in it.
    fn count(&self) -> usize {
        1 + self.values.iter().map(Self::count).sum::<usize>()
    }

    fn encode(&self) -> Vec<u8> {
        let inner = self.values.iter().flat_map(Self::encode);
        let contents: Vec<u8> = self.bytes.iter().copied().chain(inner).collect();
        let length = u16::try_from(contents.len()).unwrap_or(u16::MAX);
        let [high, low] = length.to_be_bytes();
        let header = match length {
            0..=0x7f => vec![self.tag, low],
            0x80..=0xff => vec![self.tag, 0x81, low],
            _ => vec![self.tag, 0x82, high, low],
        };
        [header, contents].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::targets::{certificate, certification_request};

    #[test]
    fn der_is_written_as_it_was_read() {
        let requests = certification_request::seeds().into_iter().take(3);
        for der in certificate::seeds().into_iter().chain(requests) {
            let read = values(&der, MAX_DEPTH).expect("it is DER");
            assert!(read[0].count() > 20, "extensions are looked into");
            assert_eq!(read[0].encode(), der);
        }
    }

    #[test]
    fn a_change_keeps_the_lengths_right() {
        let der = &certificate::seeds()[0];
        let mut rng = Rng::with_seed(5);
        let outer = |bytes: &[u8]| value(bytes, 1).is_some_and(|(_, rest)| rest.is_empty());
        let changes = (0..500).filter_map(|_| changed(&mut rng, der));
        assert_eq!(changes.filter(|der| outer(der)).count(), 500);
        assert_eq!(changed(&mut rng, b"no DER"), None);
    }
}
