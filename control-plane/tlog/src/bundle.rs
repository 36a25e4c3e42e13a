//! Entry bundles (C2SP tlog-tiles): up to 256 entries, each after its length in two bytes, big
//! endian.

use std::sync::Arc;

use crate::{MAX_ENTRY_BYTES, TILE_WIDTH};

const LENGTH_BYTES: usize = 2;
/// Most bytes of a bundle.
pub(crate) const MAX_BUNDLE_BYTES: u64 = TILE_WIDTH * (LENGTH_BYTES + MAX_ENTRY_BYTES) as u64;

/// The bundle of some entries, none longer than [`MAX_ENTRY_BYTES`].
pub(crate) fn encode(entries: &[Arc<[u8]>]) -> Vec<u8> {
    let bytes = entries.iter().map(|entry| LENGTH_BYTES + entry.len()).sum();
    let mut bundle = Vec::with_capacity(bytes);
    for entry in entries {
        let length = u16::try_from(entry.len()).expect("checked when it was appended");
        bundle.extend_from_slice(&length.to_be_bytes());
        bundle.extend_from_slice(entry);
    }
    bundle
}

/// The entries of a bundle, which holds `count` of them and nothing else. `Err` is the offset of
/// what is wrong.
pub(crate) fn parse(bundle: &[u8], count: u64) -> Result<Vec<Arc<[u8]>>, usize> {
    let (mut entries, mut rest) = (Vec::new(), bundle);
    while !rest.is_empty() && (entries.len() as u64) < count {
        let offset = bundle.len() - rest.len();
        let (length, body) = rest.split_first_chunk().ok_or(offset)?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (entry, later) = body.split_at_checked(length).ok_or(offset)?;
        entries.push(entry.into());
        rest = later;
    }
    if rest.is_empty() && entries.len() as u64 == count {
        Ok(entries)
    } else {
        Err(bundle.len() - rest.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn entries_survive_their_bundle(
            entries in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..60)
        ) {
            let entries: Vec<Arc<[u8]>> = entries.into_iter().map(Into::into).collect();
            let bundle = encode(&entries);
            let count = entries.len() as u64;
            prop_assert_eq!(parse(&bundle, count), Ok(entries));
            prop_assert!(parse(&bundle, count + 1).is_err());
        }

        #[test]
        fn any_bytes_are_a_bundle_or_refused(
            bytes in proptest::collection::vec(any::<u8>(), 0..600),
            count in 0u64..300
        ) {
            if let Ok(entries) = parse(&bytes, count) {
                prop_assert_eq!(encode(&entries), bytes);
            }
        }
    }
}
