use std::pin::pin;
use std::task::{Context, Poll, Waker};

use proptest::prelude::*;
use tokio::io::{AsyncRead as _, ReadBuf};

use super::*;

fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
}

/// How many of these frames pass, in such pieces.
fn passing(frames: &[Vec<u8>], piece: usize) -> usize {
    let mut indexing = Indexing::new(CAPACITY_OF_ENVOYS.indexed_names);
    indexing.read(PREFACE).unwrap();
    let passes = |frame: &&Vec<u8>| -> bool {
        frame
            .chunks(piece)
            .all(|piece| indexing.read(piece).is_ok())
    };
    frames.iter().take_while(passes).count()
}

const MOST: usize = CAPACITY_OF_ENVOYS.indexed_names as usize;

/// A path that is indexed, in each way to say that.
fn paths() -> Vec<Vec<u8>> {
    let plain = [&[0x40, 5][..], b":path", &[2], b"/a"].concat();
    let coded = [&[0x40, 0x84, 0xb9, 0x58, 0xd3, 0x3f][..], &[2], b"/a"].concat();
    vec![vec![0x44, 2, b'/', b'a'], vec![0x45, 1, b'/'], plain, coded]
}

#[test]
fn indexed_paths_are_bounded() {
    for path in paths() {
        let padded = [
            &[3][..],
            &[0; PRIORITY_BYTES],
            &[0x20, 0x3f, 0xe1, 0x1f],
            &path,
            &[0x44; 3],
        ];
        for frames in [
            vec![frame(HEADERS, 4, &path); 2 * MOST],
            vec![frame(HEADERS, PADDED | PRIORITY, &padded.concat()); 2 * MOST],
        ] {
            for piece in [1, 2, 7, 100] {
                assert_eq!(passing(&frames, piece), MOST, "{path:?}");
            }
        }
    }
}

/// A name in the dynamic table is that of a path, or is not.
#[test]
fn names_are_followed_through_the_table() {
    let again = frame(HEADERS, 4, &[0x7e, 2, b'/', b'a']);
    let path = frame(HEADERS, 4, &paths()[0]);
    let other = frame(HEADERS, 4, &[0x40, 1, b'x', 1, b'y']);
    let paths = [vec![path], vec![again.clone(); 2 * MOST]].concat();
    assert_eq!(passing(&paths, 3), MOST);
    let others = [vec![other], vec![again; 2 * MOST]].concat();
    assert_eq!(passing(&others, 3), others.len());
}

#[test]
fn block_goes_on_in_continuations() {
    let block = paths().concat();
    let (start, end) = block.split_at(7);
    let both = [frame(HEADERS, 0, start), frame(CONTINUATION, 4, end)].concat();
    assert_eq!(passing(&vec![both; MOST], 5), MOST / paths().len());
}

/// h2 resets a stream that depends on itself, and never looks at the fields of such a frame. It looks at
/// those of a promise, that no client makes. And of a field without a name, in a block that goes on, it
/// takes the value for fields: here one of a path.
#[test]
fn frame_that_cannot_be_followed_ends_its_connection() {
    let itself = [&[0x80, 0, 0, 1, 0][..], &paths()[0]].concat();
    let too_much_padding = [&[200][..], &paths()[0]].concat();
    let endless = [0x7f, 0xff, 0xff, 0xff, 0xff, 0xff];
    let promise = [&[0, 0, 0, 2][..], &paths()[0]].concat();
    let nameless = [0x40, 0x00, 0x83, 0x44, 0x01, b'/'];
    for frame in [
        frame(HEADERS, 4 | PRIORITY, &itself),
        frame(HEADERS, 4 | PADDED, &too_much_padding),
        frame(HEADERS, 4, &endless),
        frame(PUSH_PROMISE, 4, &promise),
        frame(PUSH_PROMISE, 4, &[]),
        frame(HEADERS, 0, &nameless),
    ] {
        for piece in [1, 3, 100] {
            assert_eq!(passing(std::slice::from_ref(&frame), piece), 0, "{frame:?}");
        }
    }
    let other = [&[0, 0, 0, 3, 0][..], &[0x83]].concat();
    assert_eq!(passing(&[frame(HEADERS, 4 | PRIORITY, &other)], 1), 1);
}

/// A path for each call, again whenever the table has gone round, and what changes with each call.
#[test]
fn honest_peers_pass() {
    let mut frames = vec![frame(4, 0, &[0; 12])];
    for call in 0..10_000_u32 {
        let mut block = vec![0x83, 0x86];
        match call % 60 {
            path @ 0..7 => block.extend([0x44, 2, b'/', u8::try_from(path).unwrap()]),
            7 => block.extend([0x41, 1, b'a']),
            _ => block.extend([0xbe, 0xbf]),
        }
        block.extend([0x40, 12]);
        block.extend(b"grpc-timeout");
        block.extend([4]);
        block.extend(call.to_be_bytes());
        // Not to be indexed.
        block.extend([0x04, 2, b'/', b'a', 0x14, 2, b'/', b'b']);
        frames.push(frame(HEADERS, 4, &block));
        frames.push(frame(0, 1, &paths().concat()));
    }
    assert_eq!(passing(&frames, 1_000), frames.len());
}

/// What a client of h2 says that makes these requests.
fn said(requests: Vec<http::Request<()>>) -> Vec<u8> {
    let cx = &mut Context::from_waker(Waker::noop());
    let (mut ours, theirs) = tokio::io::duplex(1 << 20);
    let Poll::Ready(Ok((mut client, mut connection))) =
        pin!(h2::client::handshake(theirs)).poll(cx)
    else {
        panic!("there is room for a preface")
    };
    for request in requests {
        drop(client.send_request(request, true).unwrap());
        assert!(pin!(&mut connection).poll(cx).is_pending());
    }
    let mut said = vec![0; 1 << 20];
    let mut buffer = ReadBuf::new(&mut said);
    assert!(pin!(&mut ours).poll_read(cx, &mut buffer).is_ready());
    buffer.filled().to_vec()
}

fn request((path, fields): (String, Vec<(String, String)>)) -> http::Request<()> {
    let start = http::Request::post(format!("http://a.example/{path}"));
    let request = fields.iter().fold(start, |request, (name, value)| {
        request.header(format!("x{name}"), value)
    });
    request.body(()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn client_of_h2_is_followed_whatever_it_asks(
        requests in prop::collection::vec(
            ("[a-zA-Z0-9/._-]{0,40}", prop::collection::vec(("[a-z0-9-]{0,20}", "[ -~]{0,4000}"), 0..6)),
            1..6,
        ),
        piece in 1usize..3_000,
    ) {
        let said = said(requests.into_iter().map(request).collect());
        let mut indexing = Indexing::new(u128::BITS);
        for piece in said.chunks(piece) {
            prop_assert!(indexing.read(piece).is_ok());
        }
        prop_assert!(indexing.recent != 0);
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_alike_in_any_pieces(
        blocks in prop::collection::vec(
            (prop::collection::vec(any::<u8>(), 0..40), 0u8..12, any::<u8>()), 0..20,
        ),
        piece in 1usize..50,
    ) {
        let frames: Vec<_> = blocks.iter().map(|(b, kind, flags)| frame(*kind, *flags, b)).collect();
        let state = |piece: usize| {
            let mut indexing = Indexing::new(CAPACITY_OF_ENVOYS.indexed_names);
            let stream = [PREFACE, &frames.concat()].concat();
            let read: Result<Vec<()>, _> = stream.chunks(piece).map(|p| indexing.read(p)).collect();
            (read.is_ok(), format!("{indexing:?}"))
        };
        let (whole, pieces) = (state(usize::MAX), state(piece));
        prop_assert_eq!(whole.0, pieces.0);
        prop_assert!(!whole.0 || whole.1 == pieces.1);
    }
}
