//! Leaves out of a protobuf message the fields that nobody reads, as its bytes arrive.
//!
//! An Envoy repeats its node in every request, 61 kB of which nothing is used. A hundred streams
//! that begin together would have it buffered a hundred times. Only the top level is looked at.

use SieveError::{Malformed, TooManyFields};

/// The fields of a message that are kept, and how many of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fields {
    /// Their numbers.
    pub keep: &'static [u32],
    /// Most bytes of a message that are kept.
    pub max_bytes: usize,
    /// Most fields that are kept: an empty one is two bytes here and many more once it is decoded.
    pub max_fields: usize,
}

/// Why a message is not taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SieveError {
    /// It is not protobuf, as far as it was looked at.
    #[error("the message is malformed")]
    Malformed,
    /// It has too many fields.
    #[error("the message has too many fields")]
    TooManyFields,
}

/// Where in a message its next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// In the tag of a field, or before it.
    Tag,
    /// In the length of a field.
    Length { kept: bool },
    /// In a varint.
    Varint { kept: bool },
    /// In so many bytes of a field.
    Bytes { kept: bool, left: u64 },
}

/// One message on its way.
#[derive(Debug)]
pub(crate) struct Sieve {
    keep: &'static [u32],
    /// How many more fields may be kept.
    left: usize,
    at: At,
    /// The varint that is being read: its value, its bits so far, and its bytes where it is a tag.
    value: u64,
    bits: u32,
    tag: [u8; MAX_VARINT_BYTES],
    tag_bytes: usize,
}

impl Sieve {
    pub(crate) fn new(fields: Fields) -> Self {
        Self {
            keep: fields.keep,
            left: fields.max_fields,
            at: At::Tag,
            value: 0,
            bits: 0,
            tag: [0; MAX_VARINT_BYTES],
            tag_bytes: 0,
        }
    }

    /// Takes the next bytes in and hands on what is kept of them.
    ///
    /// # Errors
    /// They are not protobuf, or too many fields.
    pub(crate) fn take(
        &mut self,
        mut bytes: &[u8],
        mut keep: impl FnMut(&[u8]),
    ) -> Result<(), SieveError> {
        while let Some((&first, rest)) = bytes.split_first() {
            match self.at {
                At::Bytes { kept, left } => {
                    let here = usize::try_from(left).map_or(bytes.len(), |n| n.min(bytes.len()));
                    if kept {
                        keep(&bytes[..here]);
                    }
                    bytes = &bytes[here..];
                    let left = left - here as u64;
                    self.at = if left == 0 {
                        At::Tag
                    } else {
                        At::Bytes { kept, left }
                    };
                    continue;
                }
                At::Tag => {
                    *self.tag.get_mut(self.tag_bytes).ok_or(Malformed)? = first;
                    self.tag_bytes += 1;
                    if let Some(tag) = self.varint(first)? {
                        self.field(tag, &mut keep)?;
                    }
                }
                At::Length { kept } => {
                    if kept {
                        keep(&[first]);
                    }
                    match self.varint(first)? {
                        Some(0) => self.at = At::Tag,
                        Some(left) => self.at = At::Bytes { kept, left },
                        None => {}
                    }
                }
                At::Varint { kept } => {
                    if kept {
                        keep(&[first]);
                    }
                    if self.varint(first)?.is_some() {
                        self.at = At::Tag;
                    }
                }
            }
            bytes = rest;
        }
        Ok(())
    }

    /// Whether a message may end here.
    pub(crate) fn is_whole(&self) -> bool {
        self.at == At::Tag && self.tag_bytes == 0
    }

    /// A tag is read: what comes behind it.
    fn field(&mut self, tag: u64, keep: &mut impl FnMut(&[u8])) -> Result<(), SieveError> {
        let number = u32::try_from(tag >> 3).map_err(|_| Malformed)?;
        let kept = self.keep.contains(&number);
        if kept {
            self.left = self.left.checked_sub(1).ok_or(TooManyFields)?;
            keep(&self.tag[..self.tag_bytes]);
        }
        self.tag_bytes = 0;
        self.at = match tag & 7 {
            VARINT => At::Varint { kept },
            FIXED_64 => At::Bytes { kept, left: 8 },
            LENGTH_DELIMITED => At::Length { kept },
            FIXED_32 => At::Bytes { kept, left: 4 },
            // Groups are long out of use.
            _ => return Err(Malformed),
        };
        Ok(())
    }

    /// One more byte of a varint; its value with the last one.
    fn varint(&mut self, byte: u8) -> Result<Option<u64>, SieveError> {
        if self.bits >= 64 {
            return Err(Malformed);
        }
        self.value |= u64::from(byte & 0x7f) << self.bits;
        self.bits += 7;
        if byte & 0x80 != 0 {
            return Ok(None);
        }
        self.bits = 0;
        Ok(Some(std::mem::take(&mut self.value)))
    }
}

const MAX_VARINT_BYTES: usize = 10;
const VARINT: u64 = 0;
const FIXED_64: u64 = 1;
const LENGTH_DELIMITED: u64 = 2;
const FIXED_32: u64 = 5;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// More than the random messages have.
    const MOST: usize = 100;

    #[derive(Clone, Debug)]
    enum Value {
        Varint(u64),
        Fixed64([u8; 8]),
        Text(Vec<u8>),
        Fixed32([u8; 4]),
    }

    fn put_varint(bytes: &mut Vec<u8>, mut value: u64) {
        while value >= 0x80 {
            bytes.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
            value >>= 7;
        }
        bytes.push(u8::try_from(value).unwrap());
    }

    fn encoded<'a>(fields: impl Iterator<Item = &'a (u32, Value)>) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (number, value) in fields {
            let tag = |wire: u64| u64::from(*number) << 3 | wire;
            match value {
                Value::Varint(value) => {
                    put_varint(&mut bytes, tag(VARINT));
                    put_varint(&mut bytes, *value);
                }
                Value::Fixed64(value) => {
                    put_varint(&mut bytes, tag(FIXED_64));
                    bytes.extend(value);
                }
                Value::Text(text) => {
                    put_varint(&mut bytes, tag(LENGTH_DELIMITED));
                    put_varint(&mut bytes, text.len() as u64);
                    bytes.extend(text);
                }
                Value::Fixed32(value) => {
                    put_varint(&mut bytes, tag(FIXED_32));
                    bytes.extend(value);
                }
            }
        }
        bytes
    }

    fn sieved(bytes: &[u8], piece: usize) -> Result<Vec<u8>, SieveError> {
        let mut sieve = Sieve::new(Fields {
            keep: &[1, 300],
            max_bytes: usize::MAX,
            max_fields: MOST,
        });
        let mut kept = Vec::new();
        for piece in bytes.chunks(piece.max(1)) {
            sieve.take(piece, |bytes| kept.extend(bytes))?;
        }
        if sieve.is_whole() {
            Ok(kept)
        } else {
            Err(Malformed)
        }
    }

    fn field() -> impl Strategy<Value = (u32, Value)> {
        let number = prop_oneof![Just(1u32), Just(2), Just(300), 3u32..536_870_911];
        let value = prop_oneof![
            any::<u64>().prop_map(Value::Varint),
            any::<[u8; 8]>().prop_map(Value::Fixed64),
            prop::collection::vec(any::<u8>(), 0..300).prop_map(Value::Text),
            any::<[u8; 4]>().prop_map(Value::Fixed32),
        ];
        (number, value)
    }

    proptest! {
        #[test]
        fn only_kept_fields_come_through(
            fields in prop::collection::vec(field(), 0..12),
            piece in 1usize..40,
        ) {
            let kept = |(number, _): &&(u32, Value)| [1, 300].contains(number);
            let expected = encoded(fields.iter().filter(kept));
            prop_assert_eq!(sieved(&encoded(fields.iter()), piece), Ok(expected));
        }

        #[test]
        fn pieces_make_no_difference(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            piece in 1usize..40,
        ) {
            prop_assert_eq!(sieved(&bytes, piece), sieved(&bytes, 200));
        }
    }

    #[test]
    fn only_kept_fields_are_counted() {
        let message = |number: u8, count: usize| [number << 3, 0].repeat(count);
        assert_eq!(sieved(&message(1, MOST), 3).unwrap().len(), 2 * MOST);
        assert_eq!(sieved(&message(1, MOST + 1), 3), Err(TooManyFields));
        assert_eq!(sieved(&message(2, 10 * MOST), 3), Ok(vec![]));
    }

    #[test]
    fn broken_messages_are_malformed() {
        for bytes in [
            &[0xff; 11][..],     // a tag without an end
            &[0x0a, 0x05, 1, 2], // a field that is cut off
            &[0x12, 0x05, 1, 2], // one that is not kept, too
            &[0x0b],             // a group
            &[0x08],             // a varint that is missing
            &[
                0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01,
            ],
        ] {
            assert_eq!(sieved(bytes, 3), Err(Malformed), "{bytes:?}");
        }
        assert_eq!(sieved(&[], 1), Ok(vec![]));
    }
}
