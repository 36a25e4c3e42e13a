//! HTTP/2 on a Unix socket, in which `:authority` is mended as it passes.

use std::num::NonZeroUsize;

use countersign_serve::unix::mended;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// Lengths stay, only the two bytes that no authority has become another, and pieces make no
/// difference. Taken is what was changed.
pub fn run(data: &[u8]) -> bool {
    let pieces = [usize::MAX, 1, 7].map(|piece| {
        let piece = NonZeroUsize::new(piece).expect("none is zero");
        mended(data.to_vec(), piece)
    });
    assert!(pieces.iter().all(|mended| *mended == pieces[0]));
    assert_eq!(pieces[0].len(), data.len());
    for (before, after) in data.iter().zip(&pieces[0]) {
        assert!(before == after || (matches!(before, b'%' | b'/') && *after == b'-'));
    }
    pieces[0] != data
}

fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len())
        .expect("a short frame")
        .to_be_bytes();
    [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
}

/// With the name in the table, as a literal, and in two frames with padding.
pub fn seeds() -> Vec<Vec<u8>> {
    let path = b"%2Ftmp%2Fa.sock";
    let indexed = [&[0x83, 0x84, 0x41, 15], &path[..]].concat();
    let literal = [&[0x40, 10], &b":authority"[..], &[15], path].concat();
    let padded = [&[2], &indexed[..6], &[0, 0]].concat();
    [
        [PREFACE, &frame(HEADERS, END_HEADERS, &indexed)].concat(),
        [
            PREFACE,
            &frame(4, 0, &[0; 12]),
            &frame(HEADERS, END_HEADERS, &literal),
        ]
        .concat(),
        [
            PREFACE,
            &frame(HEADERS, 8, &padded),
            &frame(CONTINUATION, END_HEADERS, &indexed[6..]),
        ]
        .concat(),
    ]
    .to_vec()
}
