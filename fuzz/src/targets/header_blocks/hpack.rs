//! Header fields as HPACK writes them (RFC 7541), also in ways that nobody chooses.

/// A field that is not indexed, with the name of this index.
pub(super) fn unindexed(index: usize, value: &str) -> Vec<u8> {
    let mut field = Vec::new();
    integer(&mut field, 4, 0, index, false);
    text(&mut field, value.as_bytes(), false, false);
    field
}

/// RFC 7541 section 5.1.
pub(super) fn integer(block: &mut Vec<u8>, prefix: u32, pattern: u8, value: usize, is_long: bool) {
    let full = (1_usize << prefix) - 1;
    let low = |value: usize| u8::try_from(value).expect("seven bits");
    let Some(mut left) = value.checked_sub(full) else {
        block.push(pattern | low(value));
        return;
    };
    block.push(pattern | low(full));
    while left >= 0x80 {
        block.push(0x80 | low(left & 0x7f));
        left >>= 7;
    }
    match is_long {
        true => block.extend([0x80 | low(left), 0]),
        false => block.push(low(left)),
    }
}

/// RFC 7541 section 5.2.
pub(super) fn text(block: &mut Vec<u8>, text: &[u8], is_coded: bool, is_long: bool) {
    let (pattern, text) = match is_coded {
        true => (0x80, coded(text)),
        false => (0, text.to_vec()),
    };
    integer(block, 7, pattern, text.len(), is_long);
    block.extend(text);
}

/// Characters with codes of five, six and seven bits, and the first code of each (RFC 7541 appendix B).
const CODES: [(u32, u32, &[u8]); 3] = [
    (5, 0x00, b"012aceiost"),
    (6, 0x14, b" %-./3456789=A_bdfghlmnpru"),
    (7, 0x5c, b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz"),
];

fn coded(text: &[u8]) -> Vec<u8> {
    let (mut bits, mut count, mut coded) = (0_u64, 0, Vec::new());
    for character in text {
        let code = CODES.iter().find_map(|(length, first, characters)| {
            let at = characters.iter().position(|other| other == character)?;
            Some((*length, *first + u32::try_from(at).ok()?))
        });
        let (length, code) = code.expect("a character with a code");
        (bits, count) = (bits << length | u64::from(code), count + length);
        while count >= 8 {
            count -= 8;
            coded.extend(u8::try_from(bits >> count & 0xff));
        }
    }
    if count > 0 {
        let padded = bits << (8 - count) | 0xff >> count;
        coded.extend(u8::try_from(padded & 0xff));
    }
    coded
}
