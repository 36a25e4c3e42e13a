//! HTTP/2 of any peer, read along by `Indexing` and read by h2: ours is never laxer.
//!
//! What h2 keeps in its table cannot be seen, so h2 is asked. Each entry that ours takes for no
//! pseudo-header field is named by its index in one more request, behind an ordinary field. h2 accepts
//! that of an ordinary name, ends the connection beyond the end of its table, and resets the stream where
//! the name is that of a pseudo-header field. Then the same index stands for the path, the authority, the
//! method or the scheme of a request: accepted, it proves that h2 keeps what ours has not counted.
//!
//! With a frame that ours refuses h2 accepts no request. That no honest client is refused is shown by the
//! valid values, of which one is what a client of h2 says, and by the tests of `Indexing`.
//!
//! The first byte says in which pieces the rest is read, and whether it is frames as they are, changed
//! anyhow, or a script of frames, of which a change makes others that are well formed.

mod hpack;
mod peer;
mod script;

use std::num::NonZeroUsize;

use countersign_serve::followed;

use peer::Peer;
use script::{CONTINUATION, END_HEADERS, END_STREAM, HEADERS, PUSH_PROMISE, frame};

/// Set in the first byte where frames follow as they are.
const RAW: u8 = 0x80;
const FRAME_HEADER_BYTES: usize = 9;
/// The first index of the table, and most entries of it: each counts 32 bytes, and has a name.
const FIRST_DYNAMIC: usize = 62;
const MAX_ENTRIES: usize = 4_096 / 33;
/// The first stream of the requests that ask: beyond those of a script.
const FIRST_ASKING: u32 = 0x7000_0001;
/// GET, http and `/`, by their indices in the static table, and an ordinary field.
const METHOD: &[u8] = &[0x82];
const SCHEME: &[u8] = &[0x86];
const PATH: &[u8] = &[0x84];
const ORDINARY: &[u8] = &[0x00, 1, b'a', 1, b'b'];

/// Both read the same. Taken is what both follow to its end, with a request in it.
pub fn run(data: &[u8]) -> bool {
    let (how, rest) = data.split_first().unwrap_or((&0, &[]));
    let piece = NonZeroUsize::MIN.saturating_add(usize::from(how & !RAW));
    let frames = match how & RAW {
        0 => parted(&script::frames(rest)),
        _ => parted(rest),
    };
    let counted = followed(&frames, piece);
    let mut peer = Peer::new();
    let (mut requests, mut both) = (0, 0);
    for (at, frame) in frames.iter().enumerate() {
        let accepted = peer.hear(frame);
        if at == counted.len() {
            assert_eq!(accepted, 0, "h2 accepts a request that is refused here");
            break;
        }
        if !peer.is_alive() {
            break;
        }
        requests += accepted;
        both += 1;
    }
    let are_all = both == frames.len();
    if let Some(&counted) = counted[..both].last() {
        let frames = &frames[..both];
        if !are_all {
            // One that has heard those and no more.
            peer = Peer::new();
            peer.hear(&frames.concat());
        }
        compare(peer, unfinished(frames), counted);
    }
    requests > 0 && are_all
}

/// Whole frames by what they say of their lengths: h2 reads none before its end.
fn parted(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    while let [a, b, c, ..] = bytes {
        let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
        let Some((frame, rest)) = bytes.split_at_checked(FRAME_HEADER_BYTES + length) else {
            break;
        };
        frames.push(frame.to_vec());
        bytes = rest;
    }
    frames
}

/// This peer keeps no pseudo-header field that is not among those that are counted. A header block that
/// has no end yet is ended.
fn compare(mut peer: Peer, unfinished: Option<u32>, counted: u128) {
    if let Some(stream) = unfinished {
        peer.hear(&frame(CONTINUATION, END_HEADERS, stream, &[]));
    }
    let mut stream = FIRST_ASKING;
    let mut accepts = |block: &[&[u8]]| {
        stream += 2;
        peer.hear(&frame(
            HEADERS,
            END_STREAM | END_HEADERS,
            stream,
            &block.concat(),
        )) > 0
    };
    for age in (0..MAX_ENTRIES).filter(|age| counted >> age & 1 == 0) {
        let with = |value: &str| hpack::unindexed(FIRST_DYNAMIC + age, value);
        if accepts(&[METHOD, SCHEME, PATH, ORDINARY, &with("0")]) {
            continue;
        }
        let proofs: [(&str, [&[u8]; 3]); 4] = [
            ("path", [METHOD, SCHEME, &with("/")]),
            ("authority", [METHOD, SCHEME, &[PATH, &with("a")].concat()]),
            ("method", [SCHEME, PATH, &with("GET")]),
            ("scheme", [METHOD, PATH, &with("http")]),
        ];
        for (name, block) in proofs {
            assert!(
                !accepts(&block),
                "h2 keeps a {name} at {age} that is not counted"
            );
        }
    }
}

/// The stream of a header block that has no end yet.
fn unfinished(frames: &[Vec<u8>]) -> Option<u32> {
    let last = frames.iter().rev().find(|frame| {
        let kind = frame[3];
        [HEADERS, PUSH_PROMISE, CONTINUATION].contains(&kind)
    })?;
    let stream = last[5..FRAME_HEADER_BYTES]
        .iter()
        .fold(0, |sum, byte| sum << 8 | u32::from(*byte));
    (last[4] & END_HEADERS == 0).then_some(stream)
}

/// What a client of h2 says, and scripts of frames that h2 takes.
pub fn seeds() -> Vec<Vec<u8>> {
    let honest = [&[RAW | 99][..], &peer::client()].concat();
    let mut seeds = vec![honest];
    seeds.extend((0..16).map(script::valid));
    seeds
}
