//! Makes `:authority` of HTTP/2 requests on a Unix socket acceptable.
//!
//! gRPC's C core (Python, C++, Ruby) sends the percent-encoded path of the socket there, grpc-java
//! the path itself. Neither is an authority (RFC 3986 section 3.2), and the HTTP/2 server of this
//! process resets such a request before anybody sees it. On a Unix socket the field says nothing,
//! so each offending byte becomes a `-` as it passes. Lengths stay, and with them the frames and
//! the dynamic table of HPACK (RFC 7541 section 4.1).
//!
//! Those clients send the value without Huffman coding; a coded one passes as it is, as does
//! everything that is not HTTP/2.

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEADER_BYTES: usize = 9;
/// Frame types and flags (RFC 9113 sections 6.2 and 6.10).
const HEADERS: u8 = 0x1;
const CONTINUATION: u8 = 0x9;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
const PRIORITY_BYTES: usize = 5;
/// The field, and its place in the static table (RFC 7541 appendix A).
const AUTHORITY: &[u8] = b":authority";
const AUTHORITY_INDEX: usize = 1;
/// Most bytes that continue an integer: beyond it the peer is not serious.
const MAX_CONTINUED: u32 = 4;

/// Reads along with one connection.
#[derive(Debug)]
pub(super) struct AuthorityMender {
    position: Position,
    fields: Fields,
}

#[derive(Clone, Copy, Debug)]
enum Position {
    /// In the connection preface, so many bytes of which have passed.
    Preface(usize),
    FrameHeader([u8; FRAME_HEADER_BYTES], usize),
    /// In a frame whose content is of no interest.
    Skipping(usize),
    /// In the length of the padding.
    PadLength {
        left: usize,
        flags: u8,
    },
    /// In header fields, after so many bytes of priority.
    Block {
        priority: usize,
        left: usize,
        padding: usize,
        flags: u8,
    },
    /// Not HTTP/2, or nothing that we understand: bytes pass.
    Passing,
}

/// Where in a header block we are.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fields {
    Start,
    /// In an integer that goes on.
    Integer {
        then: Then,
        value: usize,
        continued: u32,
    },
    /// At the length of a string.
    Length(Text),
    /// In a string.
    Text {
        text: Text,
        left: usize,
        is_plain: bool,
    },
    Broken,
}

/// What an integer is for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Then {
    /// An indexed field, or a table size: nothing follows.
    Next,
    /// The index of a name: its value follows.
    Value,
    /// The length of a string.
    Text(Text, bool),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Text {
    /// A name, which is that of the field so far or is not.
    Name(bool),
    Value,
    Authority,
}

impl Default for AuthorityMender {
    fn default() -> Self {
        Self {
            position: Position::Preface(0),
            fields: Fields::Start,
        }
    }
}

impl AuthorityMender {
    /// Mends bytes that were just read, in order.
    pub(super) fn mend(&mut self, mut bytes: &mut [u8]) {
        while let Some((first, rest)) = std::mem::take(&mut bytes).split_first_mut() {
            match self.position {
                Position::Passing => return,
                Position::Skipping(left) if left > 1 => {
                    let skipped = rest.len().min(left - 2);
                    self.position = Position::Skipping(left - 1 - skipped);
                    bytes = &mut rest[skipped..];
                    continue;
                }
                _ => self.step(first),
            }
            bytes = rest;
        }
    }

    fn step(&mut self, byte: &mut u8) {
        self.position = match self.position {
            Position::Preface(at) if PREFACE[at] != *byte => Position::Passing,
            Position::Preface(at) if at + 1 == PREFACE.len() => next_frame(),
            Position::Preface(at) => Position::Preface(at + 1),
            Position::FrameHeader(mut header, at) => {
                header[at] = *byte;
                if at + 1 == FRAME_HEADER_BYTES {
                    self.begin(header)
                } else {
                    Position::FrameHeader(header, at + 1)
                }
            }
            Position::Skipping(left) if left > 1 => Position::Skipping(left - 1),
            Position::Skipping(_) => next_frame(),
            Position::PadLength { left, flags } => block(left - 1, usize::from(*byte), flags),
            Position::Block {
                priority,
                left,
                padding,
                flags,
            } => {
                if priority == 0 && left > padding {
                    self.fields = self.fields.step(byte);
                }
                let (priority, left) = (priority.saturating_sub(1), left - 1);
                self.go_on(Position::Block {
                    priority,
                    left,
                    padding,
                    flags,
                })
            }
            Position::Passing => Position::Passing,
        };
    }

    fn begin(&mut self, header: [u8; FRAME_HEADER_BYTES]) -> Position {
        let [a, b, c, kind, flags, ..] = header;
        let left = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        match kind {
            HEADERS => self.fields = Fields::Start,
            CONTINUATION => {}
            _ if left == 0 => return next_frame(),
            _ => return Position::Skipping(left),
        }
        if kind == HEADERS && flags & PADDED != 0 && left > 0 {
            return Position::PadLength { left, flags };
        }
        // A continuation has neither padding nor priority.
        let flags = if kind == HEADERS {
            flags
        } else {
            flags & END_HEADERS
        };
        self.go_on(block(left, 0, flags))
    }

    fn go_on(&mut self, position: Position) -> Position {
        match position {
            _ if self.fields == Fields::Broken => Position::Passing,
            Position::Block { left: 0, .. } => next_frame(),
            _ => position,
        }
    }
}

fn next_frame() -> Position {
    Position::FrameHeader([0; FRAME_HEADER_BYTES], 0)
}

fn block(left: usize, padding: usize, flags: u8) -> Position {
    let priority = if flags & PRIORITY != 0 {
        PRIORITY_BYTES
    } else {
        0
    };
    match left {
        0 => next_frame(),
        _ => Position::Block {
            priority,
            left,
            padding,
            flags,
        },
    }
}

impl Fields {
    fn step(self, byte: &mut u8) -> Self {
        match self {
            Self::Start => match *byte {
                b if b & 0x80 != 0 => integer(b, 7, Then::Next),
                b if b & 0x40 != 0 => integer(b, 6, Then::Value),
                b if b & 0x20 != 0 => integer(b, 5, Then::Next),
                b => integer(b, 4, Then::Value),
            },
            Self::Length(text) => {
                let is_plain = *byte & 0x80 == 0;
                integer(*byte, 7, Then::Text(text, is_plain))
            }
            Self::Integer {
                then,
                value,
                continued,
            } => {
                let value = value + (usize::from(*byte & 0x7f) << (7 * continued));
                match *byte & 0x80 {
                    0 => then.with(value),
                    _ if continued == MAX_CONTINUED => Self::Broken,
                    _ => Self::Integer {
                        then,
                        value,
                        continued: continued + 1,
                    },
                }
            }
            Self::Text {
                text,
                left,
                is_plain,
            } => {
                let text = match text {
                    Text::Authority if is_plain && matches!(*byte, b'%' | b'/') => {
                        *byte = b'-';
                        text
                    }
                    Text::Name(fits) => {
                        Text::Name(fits && AUTHORITY[AUTHORITY.len() - left] == *byte)
                    }
                    _ => text,
                };
                string(text, left - 1, is_plain)
            }
            Self::Broken => Self::Broken,
        }
    }
}

/// An integer with a prefix of so many bits (RFC 7541 section 5.1).
fn integer(byte: u8, prefix: u32, then: Then) -> Fields {
    let full = (1 << prefix) - 1;
    match usize::from(byte) & full {
        value if value == full => Fields::Integer {
            then,
            value,
            continued: 0,
        },
        value => then.with(value),
    }
}

impl Then {
    fn with(self, value: usize) -> Fields {
        match self {
            Self::Next => Fields::Start,
            Self::Value if value == 0 => Fields::Length(Text::Name(true)),
            Self::Value if value == AUTHORITY_INDEX => Fields::Length(Text::Authority),
            Self::Value => Fields::Length(Text::Value),
            Self::Text(Text::Name(_), is_plain) => {
                let fits = is_plain && value == AUTHORITY.len();
                string(Text::Name(fits), value, is_plain)
            }
            Self::Text(text, is_plain) => string(text, value, is_plain),
        }
    }
}

fn string(text: Text, left: usize, is_plain: bool) -> Fields {
    match (text, left) {
        (Text::Name(true), 0) => Fields::Length(Text::Authority),
        (Text::Name(false), 0) => Fields::Length(Text::Value),
        (_, 0) => Fields::Start,
        _ => Fields::Text {
            text,
            left,
            is_plain,
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A frame of type HEADERS or another.
    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    /// Method and path indexed, then `:authority` as a literal that is indexed.
    fn fields(authority: &str) -> Vec<u8> {
        let length = u8::try_from(authority.len()).unwrap();
        [&[0x83, 0x84, 0x41, length], authority.as_bytes()].concat()
    }

    /// As the C core sends it: the name is a literal too.
    fn named(authority: &str) -> Vec<u8> {
        let length = u8::try_from(authority.len()).unwrap();
        let path = [&[0x40, 5][..], b":path", &[4], b"/%/a"].concat();
        [
            &path,
            &[0x40, 10][..],
            AUTHORITY,
            &[length],
            authority.as_bytes(),
        ]
        .concat()
    }

    fn mended(stream: &[u8], piece: usize) -> Vec<u8> {
        let mut bytes = stream.to_vec();
        let mut mender = AuthorityMender::default();
        bytes.chunks_mut(piece).for_each(|piece| mender.mend(piece));
        bytes
    }

    #[test]
    fn a_socket_path_becomes_an_authority() {
        let settings = frame(0x4, 0, &[0; 12]);
        for (sent, seen) in [
            ("%2Ftmp%2Fa.sock", "-2Ftmp-2Fa.sock"),
            ("/tmp/a.sock", "-tmp-a.sock"),
            ("localhost:80", "localhost:80"),
        ] {
            let stream = |authority: &str| {
                let request = frame(HEADERS, END_HEADERS, &fields(authority));
                let other = frame(HEADERS, END_HEADERS, &named(authority));
                [PREFACE, &settings, &request, &frame(0x0, 1, b"/%/"), &other].concat()
            };
            for piece in 1..40 {
                assert_eq!(mended(&stream(sent), piece), stream(seen), "{piece}");
            }
        }
    }

    #[test]
    fn padding_priority_and_continuation_are_understood() {
        let stream = |authority: &str| {
            let block = fields(authority);
            let (start, end) = block.split_at(6);
            let padded = [&[2][..], &[0; PRIORITY_BYTES], start, b"%%"].concat();
            let headers = frame(HEADERS, PADDED | PRIORITY, &padded);
            [PREFACE, &headers, &frame(CONTINUATION, END_HEADERS, end)].concat()
        };
        assert_eq!(mended(&stream("%2Fa%2Fb"), 7), stream("-2Fa-2Fb"));
    }

    #[test]
    fn other_fields_and_protocols_pass() {
        let path = [&[0x44, 4][..], b"/a%b", &[0x00, 3], b"%/x", &[2], b"%/"].concat();
        let http2 = [PREFACE, &frame(HEADERS, END_HEADERS, &path)].concat();
        let http1 = b"GET /%20 HTTP/1.1\r\nhost: /%\r\n\r\n".to_vec();
        for stream in [http2, http1] {
            assert_eq!(mended(&stream, 5), stream);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_pass_in_any_pieces(
            junk in proptest::collection::vec(any::<u8>(), 0..200), piece in 1usize..50,
        ) {
            let stream = [PREFACE, &junk].concat();
            let whole = mended(&stream, stream.len());
            prop_assert_eq!(mended(&stream, piece), whole.clone());
            for (before, after) in stream.iter().zip(&whole) {
                prop_assert!(before == after || (matches!(before, b'%' | b'/') && *after == b'-'));
            }
        }
    }
}
