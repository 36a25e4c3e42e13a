//! Entry bundles (C2SP tlog-tiles), read by an auditor: entries and where each of them begins.

/// An entry within its bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Placed<'a> {
    /// Of its first byte, behind the two bytes of length.
    pub(crate) offset: u64,
    pub(crate) entry: &'a [u8],
}

/// The first `count` entries of a bundle. `Err` is the offset from which on it is none. What
/// follows them is nobody's where `whole` says that the bundle ends there.
pub(crate) fn entries(bundle: &[u8], count: usize, whole: bool) -> Result<Vec<Placed<'_>>, u64> {
    let (mut placed, mut at) = (Vec::with_capacity(count), 0);
    while placed.len() < count {
        let entry = entry(bundle, at).ok_or(at as u64)?;
        let offset = at + LENGTH_BYTES;
        at = offset + entry.len();
        placed.push(Placed {
            offset: offset as u64,
            entry,
        });
    }
    if whole && at < bundle.len() {
        return Err(at as u64);
    }
    Ok(placed)
}

const LENGTH_BYTES: usize = 2;

fn entry(bundle: &[u8], at: usize) -> Option<&[u8]> {
    let length = bundle.get(at..at + LENGTH_BYTES)?.try_into().ok()?;
    let begin = at + LENGTH_BYTES;
    bundle.get(begin..begin + usize::from(u16::from_be_bytes(length)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_entries_or_an_offset_within(
            bytes in proptest::collection::vec(any::<u8>(), 0..400),
            count in 0usize..20
        ) {
            match entries(&bytes, count, true) {
                Ok(placed) => {
                    prop_assert_eq!(placed.len(), count);
                    let total: usize = placed.iter().map(|placed| 2 + placed.entry.len()).sum();
                    prop_assert_eq!(total, bytes.len());
                }
                Err(at) => prop_assert!(at <= bytes.len() as u64),
            }
        }
    }
}
