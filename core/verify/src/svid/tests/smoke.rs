//! Whatever bytes come, judging ends without a panic and without a yes.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..Default::default() })]

    #[test]
    fn arbitrary_bytes_are_never_an_svid(chain in vec(vec(any::<u8>(), 0..600), 0..6)) {
        let chain: Vec<_> = chain.into_iter().map(CertificateDer::from).collect();
        prop_assert!(judge(&chain).is_err());
    }

    #[test]
    fn one_flipped_bit_is_never_an_svid(at in any::<prop::sample::Index>(), bit in 0..8u8) {
        let mut chain = World::shared().chain(|_| {});
        let leaf_bytes = chain[0].len();
        let offset = at.index(leaf_bytes + chain[1].len());
        let (index, offset) = if offset < leaf_bytes { (0, offset) } else { (1, offset - leaf_bytes) };
        let mut der = chain[index].to_vec();
        der[offset] ^= 1 << bit;
        chain[index] = der.into();
        prop_assert!(judge(&chain).is_err());
    }

    #[test]
    fn a_spliced_chain_is_never_an_svid(cut in any::<prop::sample::Index>(), junk in vec(any::<u8>(), 0..64)) {
        let mut chain = World::shared().chain(|_| {});
        let mut der = chain[0].to_vec();
        der.truncate(cut.index(der.len()));
        der.extend(junk);
        chain[0] = der.into();
        prop_assert!(judge(&chain).is_err());
    }
}
