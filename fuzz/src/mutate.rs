//! Changes bytes as a fuzzer without coverage does: small ones, several at a time, and parts of
//! other valid values. What is DER is also changed as DER.

mod der;

use fastrand::Rng;

/// Most changes of one value.
const MAX_CHANGES: usize = 4;
/// Most bytes that one change adds or repeats.
const MAX_RUN: usize = 64;
/// What readers compare with: ends of ranges, lengths, separators of texts.
const TELLING: &[&[u8]] = &[
    &[0],
    &[0x7f],
    &[0x80],
    &[0xff],
    &[0xff; 4],
    &[0xff; 8],
    &[0x30, 0x80],
    &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
    b"\n",
    b"\r\n",
    b"/",
    b"..",
    b":",
    b"*",
    b"\"",
    b"#",
    b" ",
    b"-1",
    b"18446744073709551616",
    "\u{202e}".as_bytes(),
];

/// A changed copy of one of the seeds.
pub(crate) fn changed(rng: &mut Rng, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = rng.choice(seeds).cloned().unwrap_or_default();
    for _ in 0..rng.usize(1..=MAX_CHANGES) {
        match rng.bool().then(|| der::changed(rng, &bytes)).flatten() {
            Some(changed) => bytes = changed,
            None => change(rng, &mut bytes, seeds),
        }
    }
    bytes
}

fn change(rng: &mut Rng, bytes: &mut Vec<u8>, seeds: &[Vec<u8>]) {
    let at = rng.usize(0..=bytes.len());
    let end = (at + rng.usize(0..=MAX_RUN)).min(bytes.len());
    match rng.u8(0..9) {
        0..=2 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << rng.u8(0..8);
            }
        }
        3 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = rng.u8(..);
            }
        }
        4 => drop(bytes.drain(at..end)),
        5 => {
            let run = bytes[at..end].to_vec();
            bytes.splice(at..at, run);
        }
        6 => {
            let telling = rng.choice(TELLING).copied().unwrap_or_default();
            let end = if rng.bool() { at } else { end };
            bytes.splice(at..end, telling.iter().copied());
        }
        7 => bytes.truncate(at),
        _ => {
            let other = rng.choice(seeds).map_or(&[][..], Vec::as_slice);
            let from = rng.usize(0..=other.len());
            bytes.splice(at.., other[from..].iter().copied());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_change_equally() {
        let seeds = [b"one".to_vec(), b"another".to_vec(), Vec::new()];
        let some = |seed| {
            let mut rng = Rng::with_seed(seed);
            let changes: Vec<_> = (0..100).map(|_| changed(&mut rng, &seeds)).collect();
            changes
        };
        assert_eq!(some(1), some(1));
        assert_ne!(some(1), some(2));
    }

    #[test]
    fn a_change_adds_no_more_than_its_bound() {
        let seeds = [vec![7; 1_000]];
        let mut rng = Rng::with_seed(3);
        let most = 2 * 1_000 + MAX_CHANGES * MAX_RUN;
        assert!((0..2_000).all(|_| changed(&mut rng, &seeds).len() <= most * MAX_CHANGES));
    }
}
