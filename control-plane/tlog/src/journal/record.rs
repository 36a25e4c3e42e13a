//! One record of the journal: an entry behind 20 bytes of header, all numbers big endian.
//!
//! ```text
//! length u32 | index u64 | place in its batch u32 | CRC-32 u32 of the 16 bytes before and the entry
//! ```
//! A batch is written whole before it is synced, and synced before the next one is written. So a
//! record of a later batch proves that every record of the earlier ones was durable.

use crc32fast::Hasher;

use crate::MAX_ENTRY_BYTES;

pub(super) const HEADER_BYTES: usize = 20;
const CHECKED_BYTES: usize = 16;
/// Most bytes of a record.
pub(super) const MAX_RECORD_BYTES: u64 = (HEADER_BYTES + MAX_ENTRY_BYTES) as u64;

/// A record as it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub(crate) index: u64,
    pub(crate) place: u32,
    pub(crate) entry: &'a [u8],
}

/// Appends a record to `buffer`.
pub(crate) fn encode(buffer: &mut Vec<u8>, index: u64, place: u32, entry: &[u8]) {
    let length = u32::try_from(entry.len()).expect("checked when it was appended");
    let mut header = [0; CHECKED_BYTES];
    header[..4].copy_from_slice(&length.to_be_bytes());
    header[4..12].copy_from_slice(&index.to_be_bytes());
    header[12..].copy_from_slice(&place.to_be_bytes());
    buffer.extend_from_slice(&header);
    buffer.extend_from_slice(&checksum(&header, entry).to_be_bytes());
    buffer.extend_from_slice(entry);
}

/// The record that `bytes` begins with, and what follows it; `None` where there is none.
pub(crate) fn parse(bytes: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let (header, body) = bytes.split_first_chunk::<HEADER_BYTES>()?;
    let (checked, sum) = header.split_first_chunk::<CHECKED_BYTES>()?;
    let (length, numbers) = checked.split_first_chunk()?;
    let (index, place) = numbers.split_first_chunk()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    if length > MAX_ENTRY_BYTES {
        return None;
    }
    let (entry, rest) = body.split_at_checked(length)?;
    if checksum(checked, entry).to_be_bytes() != sum {
        return None;
    }
    let record = Record {
        index: u64::from_be_bytes(*index),
        place: u32::from_be_bytes(place.try_into().ok()?),
        entry,
    };
    Some((record, rest))
}

fn checksum(header: &[u8], entry: &[u8]) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(header);
    hasher.update(entry);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn records_come_back_and_any_flip_is_noticed(
            index: u64,
            place: u32,
            entry in proptest::collection::vec(any::<u8>(), 0..200),
            flip: proptest::sample::Index,
            bit in 0u32..8
        ) {
            let mut bytes = Vec::new();
            encode(&mut bytes, index, place, &entry);
            let expected = Record { index, place, entry: &entry };
            prop_assert_eq!(parse(&bytes), Some((expected, &[][..])));
            let flipped = flip.index(bytes.len());
            bytes[flipped] ^= 1 << bit;
            prop_assert_eq!(parse(&bytes), None);
        }

        #[test]
        fn any_bytes_are_a_record_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            if let Some((record, rest)) = parse(&bytes) {
                let length = HEADER_BYTES + record.entry.len() + rest.len();
                prop_assert_eq!(length, bytes.len());
            }
        }
    }

    #[test]
    fn zeros_are_no_record() {
        assert_eq!(parse(&[0; 64]), None);
    }
}
