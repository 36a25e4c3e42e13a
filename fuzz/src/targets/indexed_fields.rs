//! HTTP/2 on any connection, of which the fields that are indexed are counted as they pass.

use std::num::NonZeroUsize;

use countersign_serve::indexes_too_much;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;
/// More than any connection may have.
const TOO_MANY: usize = 25;

/// Pieces make no difference, and nobody is cut who indexes few fields. Taken is who is cut.
pub fn run(data: &[u8]) -> bool {
    let pieces = [usize::MAX, 1, 7].map(|piece| {
        let piece = NonZeroUsize::new(piece).expect("none is zero");
        indexes_too_much(data, piece)
    });
    assert!(pieces.iter().all(|is_cut| *is_cut == pieces[0]));
    // A field that is indexed begins with these two bits.
    let begin = data.iter().filter(|byte| *byte >> 6 == 0b01).count();
    assert!(!pieces[0] || begin >= TOO_MANY);
    pieces[0]
}

fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len())
        .expect("a short frame")
        .to_be_bytes();
    [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
}

/// Paths by their index, by name, by the name in the dynamic table, and in frames of every kind.
pub fn seeds() -> Vec<Vec<u8>> {
    let by_index: &[u8] = &[0x44, 2, b'/', b'a'];
    let by_name = [&[0x40, 5], &b":path"[..], &[2], b"/a"].concat();
    let coded = [&[0x40, 0x84, 0xb9, 0x58, 0xd3, 0x3f][..], &[2], b"/a"].concat();
    let in_table = [by_index, &[0x7e, 2, b'/', b'b'].repeat(TOO_MANY)].concat();
    let padded = [&[2], by_index, &[0, 0]].concat();
    let parted = [
        frame(HEADERS, 8, &padded),
        frame(CONTINUATION, END_HEADERS, &by_name),
    ];
    [
        frame(HEADERS, END_HEADERS, by_index).repeat(TOO_MANY),
        frame(HEADERS, END_HEADERS, &by_name).repeat(TOO_MANY),
        frame(HEADERS, END_HEADERS, &coded).repeat(TOO_MANY),
        frame(HEADERS, END_HEADERS, &in_table),
        parted.concat().repeat(TOO_MANY),
    ]
    .map(|frames| [PREFACE, &frames].concat())
    .to_vec()
}
