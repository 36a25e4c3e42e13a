//! Cuts a connection whose peer has HTTP/2 keep much for a few bytes.
//!
//! What a peer indexes goes into a table of its connection, 4,096 bytes as HPACK counts (RFC 7541
//! section 4.1). But h2 keeps a path, an authority or a scheme as a piece of the frame that it came
//! in, so that each of a hundred entries holds 16 kB; and it makes the table smaller only when the
//! peer says so, whatever our settings are. An honest peer indexes a path for each call that it
//! knows, and an authority. So this reads along, and counts them among what was indexed last. What it
//! cannot follow ends the connection: were it laxer than h2, a peer would have it count what h2 never saw.
//! The fuzz target `header_blocks` compares both.

use std::io;

use crate::limits::CAPACITY_OF_ENVOYS;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEADER_BYTES: usize = 9;
/// Frame types and flags (RFC 9113 sections 6.2, 6.6 and 6.10).
const HEADERS: u8 = 0x1;
const PUSH_PROMISE: u8 = 0x5;
const CONTINUATION: u8 = 0x9;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
const PRIORITY_BYTES: usize = 5;
/// Pseudo-header fields of a request in the static table, and the first index of the dynamic one
/// (RFC 7541 appendix A).
const STATIC_PSEUDO: std::ops::RangeInclusive<usize> = 1..=7;
const FIRST_DYNAMIC: usize = 62;
/// Most bytes that continue an integer: h2 takes no more either.
const MAX_CONTINUED: u32 = 4;
/// A stream identifier has 31 bits.
const STREAM_MASK: u32 = u32::MAX >> 1;
/// Bytes of [`PRIORITY_BYTES`] that name the stream on which this one depends.
const DEPENDENCY_BYTES: usize = 4;

/// Whether a connection is cut whose bytes arrive in such pieces: the door of a fuzz target.
#[doc(hidden)]
pub fn indexes_too_much(bytes: &[u8], piece: std::num::NonZeroUsize) -> bool {
    let mut indexing = Indexing::new(CAPACITY_OF_ENVOYS.indexed_names);
    let mut pieces = bytes.chunks(piece.get());
    let error = pieces.find_map(|piece| indexing.read(piece).err());
    error.is_some_and(|error| error.kind() == TOO_MUCH)
}

/// After each frame that can be followed, which of the fields that were indexed last are pseudo-header
/// fields: a bit for each, the newest lowest. The door of a fuzz target.
#[doc(hidden)]
pub fn followed(frames: &[Vec<u8>], piece: std::num::NonZeroUsize) -> Vec<u128> {
    let mut indexing = Indexing::new(u128::BITS);
    let mut read = |bytes: &[u8]| {
        let mut pieces = bytes.chunks(piece.get());
        pieces.try_for_each(|piece| indexing.read(piece)).ok()?;
        Some(indexing.recent)
    };
    read(PREFACE);
    frames.iter().map_while(|frame| read(frame)).collect()
}

/// It indexes too much.
const TOO_MUCH: io::ErrorKind = io::ErrorKind::ConnectionAborted;
/// It cannot be followed.
const MALFORMED: io::ErrorKind = io::ErrorKind::InvalidData;

/// Reads along with one connection.
#[derive(Debug)]
pub(crate) struct Indexing {
    /// Most pseudo-header fields among the last 128 that were indexed: the table has no more entries, and
    /// each keeps one frame of up to 16 kB.
    most: u32,
    at: At,
    /// The stream of the frame.
    stream: u32,
    /// Of the stream on which it depends, as far as it was read.
    dependency: u32,
    field: Field,
    /// What was indexed last: a bit for each, set for a pseudo-header field, the newest lowest.
    recent: u128,
}

#[derive(Clone, Copy, Debug)]
enum At {
    /// So many bytes of the connection preface have passed.
    Preface(usize),
    FrameHeader([u8; FRAME_HEADER_BYTES], usize),
    /// So much of a frame is of no interest.
    Skipping(usize),
    /// No HTTP/2: h2 takes no byte of it.
    Other,
    /// At the length of the padding; so much of the frame is left, and whether priority follows.
    PadLength(usize, bool),
    /// In header fields: so much of priority is left before them, of them, and of padding behind them.
    Block {
        priority: usize,
        left: usize,
        padding: usize,
    },
}

/// Where in a header block we are.
#[derive(Clone, Copy, Debug)]
enum Field {
    Start,
    Integer { then: Then, value: usize, bits: u32 },
    Length(Text),
    Text(Text, usize),
}

/// What an integer is for.
#[derive(Clone, Copy, Debug)]
enum Then {
    /// Nothing follows: an indexed field, or a table size.
    Next,
    /// The index of a name, and whether the field is indexed.
    Name(bool),
    /// The length of a text, and whether that is Huffman coded.
    Text(Text, bool),
}

#[derive(Clone, Copy, Debug)]
enum Text {
    /// A name of which nothing has been seen, of a field that is indexed or not.
    Name {
        is_indexed: bool,
        is_coded: bool,
    },
    /// The rest of a name.
    RestOfName,
    Value,
}

impl Indexing {
    /// At most so many pseudo-header fields among those that were indexed last.
    pub(crate) fn new(most: u32) -> Self {
        Self {
            most,
            at: At::Preface(0),
            stream: 0,
            dependency: 0,
            field: Field::Start,
            recent: 0,
        }
    }

    /// How many pseudo-header fields there are among those that were indexed last.
    pub(crate) fn names(&self) -> u32 {
        self.recent.count_ones()
    }

    /// Reads what the peer said next.
    ///
    /// # Errors
    /// It indexes too much, or cannot be followed: the connection has to end.
    pub(crate) fn read(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while let Some((&first, rest)) = bytes.split_first() {
            bytes = match self.at {
                At::Other => return Ok(()),
                At::Skipping(left) => {
                    let here = left.min(bytes.len());
                    self.at = match left - here {
                        0 => next_frame(),
                        left => At::Skipping(left),
                    };
                    &bytes[here..]
                }
                _ => {
                    self.at = self.step(first).ok_or(MALFORMED)?;
                    rest
                }
            };
            if self.names() > self.most {
                return Err(TOO_MUCH.into());
            }
        }
        Ok(())
    }

    /// One byte; `None` where it cannot be followed.
    fn step(&mut self, byte: u8) -> Option<At> {
        Some(match self.at {
            At::Preface(at) if PREFACE[at] != byte => At::Other,
            At::Preface(at) if at + 1 == PREFACE.len() => next_frame(),
            At::Preface(at) => At::Preface(at + 1),
            At::FrameHeader(mut header, at) => {
                header[at] = byte;
                match at + 1 {
                    FRAME_HEADER_BYTES => self.begin(header)?,
                    at => At::FrameHeader(header, at),
                }
            }
            At::PadLength(left, has_priority) => block(left - 1, byte.into(), has_priority)?,
            At::Block {
                priority: 0,
                left,
                padding,
            } => {
                self.field = self.step_field(byte)?;
                fields(0, left - 1, padding)
            }
            At::Block {
                priority,
                left,
                padding,
            } => {
                self.depends(priority, byte)?;
                fields(priority - 1, left, padding)
            }
            at @ (At::Skipping(_) | At::Other) => at,
        })
    }

    /// A byte of the priority. A stream that depends on itself is reset by h2, which looks at nothing
    /// else of its frame (RFC 7540 section 5.3.1).
    fn depends(&mut self, priority: usize, byte: u8) -> Option<()> {
        let at = PRIORITY_BYTES - priority;
        if at < DEPENDENCY_BYTES {
            self.dependency = self.dependency << 8 | u32::from(byte);
        }
        let is_read = at + 1 == DEPENDENCY_BYTES;
        (!is_read || self.dependency & STREAM_MASK != self.stream).then_some(())
    }

    fn begin(&mut self, header: [u8; FRAME_HEADER_BYTES]) -> Option<At> {
        let [a, b, c, kind, flags, stream @ ..] = header;
        let left = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        let has_priority = flags & PRIORITY != 0;
        self.stream = u32::from_be_bytes(stream) & STREAM_MASK;
        self.dependency = 0;
        match kind {
            // No client promises anything (section 8.4). h2 indexes the fields of a promise, and then
            // resets no more than a stream where they are malformed.
            PUSH_PROMISE => None,
            _ if left == 0 => Some(next_frame()),
            HEADERS => {
                self.field = Field::Start;
                match flags & PADDED {
                    0 => block(left, 0, has_priority),
                    _ => Some(At::PadLength(left, has_priority)),
                }
            }
            CONTINUATION => Some(fields(0, left, 0)),
            _ => Some(At::Skipping(left)),
        }
    }

    /// One byte of a header block; `None` where it is none of HPACK.
    fn step_field(&mut self, byte: u8) -> Option<Field> {
        match self.field {
            Field::Start => match byte {
                0x80.. => self.integer(byte, 7, Then::Next),
                0x40..0x80 => self.integer(byte, 6, Then::Name(true)),
                0x20..0x40 => self.integer(byte, 5, Then::Next),
                ..0x20 => self.integer(byte, 4, Then::Name(false)),
            },
            Field::Length(text) => self.integer(byte, 7, Then::Text(text, byte & 0x80 != 0)),
            Field::Integer { then, value, bits } => {
                let value = value + (usize::from(byte & 0x7f) << bits);
                match byte & 0x80 {
                    0 => self.after(then, value),
                    _ if bits + 7 >= 7 * MAX_CONTINUED => None,
                    _ => Some(Field::Integer {
                        then,
                        value,
                        bits: bits + 7,
                    }),
                }
            }
            Field::Text(text, left) => {
                let text = match text {
                    Text::Name {
                        is_indexed,
                        is_coded,
                    } => {
                        self.name(is_indexed, begins_pseudo(byte, is_coded));
                        Text::RestOfName
                    }
                    text => text,
                };
                string(text, left - 1)
            }
        }
    }

    /// An integer with a prefix of so many bits (RFC 7541 section 5.1).
    fn integer(&mut self, byte: u8, prefix: u32, then: Then) -> Option<Field> {
        let full = (1 << prefix) - 1;
        match usize::from(byte) & full {
            value if value == full => Some(Field::Integer {
                then,
                value,
                bits: 0,
            }),
            value => self.after(then, value),
        }
    }

    /// An integer is read: what comes behind it.
    fn after(&mut self, then: Then, value: usize) -> Option<Field> {
        match then {
            Then::Next => Some(Field::Start),
            Then::Name(is_indexed) if value == 0 => Some(Field::Length(Text::Name {
                is_indexed,
                is_coded: false,
            })),
            Then::Name(is_indexed) => {
                self.name(is_indexed, self.is_pseudo(value));
                Some(Field::Length(Text::Value))
            }
            Then::Text(Text::Name { is_indexed, .. }, is_coded) => string(
                Text::Name {
                    is_indexed,
                    is_coded,
                },
                value,
            ),
            Then::Text(text, _) => string(text, value),
        }
    }

    /// The name of a field is known.
    fn name(&mut self, is_indexed: bool, is_pseudo: bool) {
        if is_indexed {
            self.recent = self.recent << 1 | u128::from(is_pseudo);
        }
    }

    /// Whether the field of this index is a pseudo-header field.
    fn is_pseudo(&self, index: usize) -> bool {
        match index.checked_sub(FIRST_DYNAMIC) {
            None => STATIC_PSEUDO.contains(&index),
            Some(age) => age < 128 && self.recent >> age & 1 == 1,
        }
    }
}

/// Whether a name with this first byte begins with a colon: as it is, or in seven bits (RFC 7541
/// appendix B).
fn begins_pseudo(byte: u8, is_coded: bool) -> bool {
    match is_coded {
        true => byte >> 1 == 0b101_1100,
        false => byte == b':',
    }
}

fn next_frame() -> At {
    At::FrameHeader([0; FRAME_HEADER_BYTES], 0)
}

/// The content of a frame of type HEADERS.
fn block(left: usize, padding: usize, has_priority: bool) -> Option<At> {
    let priority = if has_priority { PRIORITY_BYTES } else { 0 };
    let left = left.checked_sub(padding + priority)?;
    Some(fields(priority, left, padding))
}

fn fields(priority: usize, left: usize, padding: usize) -> At {
    match (priority, left, padding) {
        (0, 0, 0) => next_frame(),
        (0, 0, padding) => At::Skipping(padding),
        _ => At::Block {
            priority,
            left,
            padding,
        },
    }
}

/// A text of which so much is left. h2 takes a field without a name for one that is not there yet: where
/// its block goes on, it reads parts of that field as fields.
fn string(text: Text, left: usize) -> Option<Field> {
    match (text, left) {
        (Text::Name { .. }, 0) => None,
        (Text::RestOfName, 0) => Some(Field::Length(Text::Value)),
        (Text::Value, 0) => Some(Field::Start),
        _ => Some(Field::Text(text, left)),
    }
}

#[cfg(test)]
mod tests;
