//! Bytes that say what frames to make: any bytes make some, most of them well formed.

use fastrand::Rng;

use super::hpack::{integer, text};

pub(super) const HEADERS: u8 = 1;
pub(super) const PUSH_PROMISE: u8 = 5;
pub(super) const CONTINUATION: u8 = 9;
pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 0x20;
/// Most frames of a script.
const MAX_FRAMES: usize = 200;
const MAX_FRAME_BYTES: usize = 16_384;
/// Fields in values of fields.
const MAX_DEPTH: u8 = 2;

/// A request before its other fields: POST, http and a path that is not indexed.
const REQUEST: &[u8] = &[0x83, 0x86, 0x04, 2, b'/', b'a'];
/// Names of fields: of a request and of an answer, ordinary ones, and none.
const NAMES: &[&str] = &[
    ":path",
    ":authority",
    ":scheme",
    ":method",
    ":status",
    "x",
    "grpc-timeout",
    "te",
    "",
    "a-name",
];
/// Values, some of which are those of pseudo-header fields.
const VALUES: &[&str] = &[
    "/", "/a", "GET", "http", "a", "200", "", "trailers", "1s", "0",
];
/// Long values: one that drops most entries of the table, and one that has no place in it.
const LONG: [usize; 2] = [3_900, 4_100];

/// How a field is said: a bit for each, beside its kind in the lowest three.
const LITERAL_NAME: u8 = 0x08;
const CODED_NAME: u8 = 0x10;
const CODED_VALUE: u8 = 0x20;
/// An integer with a byte more than it needs.
const LONG_INTEGERS: u8 = 0x40;
/// The value is a field: who loses count in a block reads it as one.
const FIELD_AS_VALUE: u8 = 0x80;

/// How a block is cut into frames: a bit for each, beside the number of cuts in the lowest two.
const IS_PADDED: u8 = 0x04;
const HAS_PRIORITY: u8 = 0x08;
const DEPENDS_ON_ITSELF: u8 = 0x10;
const IS_PROMISE: u8 = 0x20;
const IS_ENDLESS: u8 = 0x40;
const ODD_STREAM: u8 = 0x80;

/// Reads a script; nothing follows its end.
struct Script<'a> {
    bytes: std::slice::Iter<'a, u8>,
    stream: u32,
    frames: Vec<Vec<u8>>,
}

/// The frames of a script, one behind the other: one may say that it is longer than it is.
pub(super) fn frames(script: &[u8]) -> Vec<u8> {
    let mut script = Script {
        bytes: script.iter(),
        stream: 1,
        frames: Vec::new(),
    };
    while script.frames.len() < MAX_FRAMES && script.step().is_some() {}
    script.frames.concat()
}

impl Script<'_> {
    fn byte(&mut self) -> Option<u8> {
        self.bytes.next().copied()
    }

    /// A header block, or a frame of another kind, or one with a length that lies.
    fn step(&mut self) -> Option<()> {
        let what = self.byte()?;
        match what {
            0x00..0xe0 => self.block(what),
            0xe0..0xf8 => {
                let (flags, bytes) = (self.byte()?, self.some(what & 0x0f)?);
                // Any kind but those of a block; of a stream that may be open.
                let kind = [0, 2, 3, 4, 6, 7, 8, 10, 11, 200][usize::from(what) % 10];
                let stream = self.stream.saturating_sub(2);
                self.frames.push(frame(kind, flags, stream, &bytes));
                Some(())
            }
            0xf8.. => {
                let (add, bytes) = (self.byte()?, self.some(what & 0x07)?);
                let mut lying = frame(HEADERS, END_HEADERS, self.stream, &bytes);
                lying[2] = lying[2].wrapping_add(add);
                self.frames.push(lying);
                Some(())
            }
        }
    }

    fn some(&mut self, count: u8) -> Option<Vec<u8>> {
        (0..count).map(|_| self.byte()).collect()
    }

    /// So many fields, as a request or not, in frames.
    fn block(&mut self, what: u8) -> Option<()> {
        let mut block = match what & 0x80 {
            0 => REQUEST.to_vec(),
            _ => Vec::new(),
        };
        for _ in 0..what & 0x07 {
            self.field(&mut block, 0)?;
        }
        let shape = self.byte()?;
        let stream = match shape & ODD_STREAM {
            0 => self.stream,
            _ => u32::from(self.byte()? % 16),
        };
        self.stream += 2;
        let mut cuts = vec![0, block.len()];
        for _ in 0..shape & 0x03 {
            cuts.push(usize::from(self.byte()?).min(block.len()));
        }
        cuts.sort_unstable();
        let parts: Vec<_> = cuts.windows(2).map(|cut| &block[cut[0]..cut[1]]).collect();
        let (first, others) = parts.split_first().expect("two ends");
        self.begin(shape, stream, first)?;
        for part in others {
            for part in part.chunks(MAX_FRAME_BYTES) {
                self.frames.push(frame(CONTINUATION, 0, stream, part));
            }
        }
        let last = self.frames.last_mut().expect("a frame");
        if shape & IS_ENDLESS == 0 {
            last[4] |= END_HEADERS;
        }
        Some(())
    }

    /// The first frame of a block.
    fn begin(&mut self, shape: u8, stream: u32, part: &[u8]) -> Option<()> {
        let is = |bit| shape & bit != 0;
        let (mut payload, mut flags) = (Vec::new(), END_STREAM);
        let padding = if is(IS_PADDED) { self.byte()? } else { 0 };
        if is(IS_PADDED) {
            flags |= PADDED;
            payload.push(padding);
        }
        if is(IS_PROMISE) {
            payload.extend((stream + 1).to_be_bytes());
        } else if is(HAS_PRIORITY) {
            flags |= PRIORITY;
            let on = if is(DEPENDS_ON_ITSELF) { stream } else { 0 };
            payload.extend([&on.to_be_bytes()[..], &[7]].concat());
        }
        payload.extend(part);
        payload.extend(vec![0; padding.into()]);
        let kind = if is(IS_PROMISE) {
            PUSH_PROMISE
        } else {
            HEADERS
        };
        self.frames.push(frame(kind, flags, stream, &payload));
        Some(())
    }

    fn field(&mut self, block: &mut Vec<u8>, depth: u8) -> Option<()> {
        let (how, name) = (self.byte()?, self.byte()?);
        let is = |bit| how & bit != 0;
        let (prefix, pattern) = match how & 0x07 {
            0..=3 => (6, 0x40),
            4 => (4, 0x00),
            5 => (4, 0x10),
            6 => (7, 0x80),
            _ => (5, 0x20),
        };
        // Every index of the static table, some of the dynamic one, and any size of it.
        let index = match how & 0x07 {
            7 => usize::from(name) * 17,
            _ => usize::from(name) % 72,
        };
        if matches!(how & 0x07, 6 | 7) {
            integer(block, prefix, pattern, index, is(LONG_INTEGERS));
            return Some(());
        }
        if is(LITERAL_NAME) {
            integer(block, prefix, pattern, 0, false);
            let name = NAMES[usize::from(name) % NAMES.len()].as_bytes();
            text(block, name, is(CODED_NAME), is(LONG_INTEGERS));
        } else {
            integer(block, prefix, pattern, index, is(LONG_INTEGERS));
        }
        if is(FIELD_AS_VALUE) && depth < MAX_DEPTH {
            let mut value = Vec::new();
            self.field(&mut value, depth + 1)?;
            // As it is, said to be coded or not.
            let pattern = if is(CODED_VALUE) { 0x80 } else { 0 };
            integer(block, 7, pattern, value.len(), is(LONG_INTEGERS));
            block.extend(value);
        } else {
            let value = known(self.byte()?);
            text(block, &value, is(CODED_VALUE), is(LONG_INTEGERS));
        }
        Some(())
    }
}

fn known(value: u8) -> Vec<u8> {
    let at = usize::from(value) % (VALUES.len() + LONG.len());
    match VALUES.get(at) {
        Some(value) => value.as_bytes().to_vec(),
        None => vec![b'a'; LONG[at - VALUES.len()]],
    }
}

/// A frame of this kind.
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len())
        .expect("a short frame")
        .to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A script of requests with fields of every kind that h2 takes, the same for the same number.
pub(super) fn valid(seed: u64) -> Vec<u8> {
    let mut rng = Rng::with_seed(seed);
    let mut script = vec![rng.u8(..0x80)];
    for _ in 0..rng.u8(2..6) {
        let fields = rng.u8(1..7);
        script.push(fields);
        for at in 0..fields {
            let says = [LITERAL_NAME, CODED_NAME, CODED_VALUE, LONG_INTEGERS];
            let says = says
                .iter()
                .filter(|_| rng.bool())
                .fold(0, |sum, bit| sum | bit);
            // The first is indexed, so that the next can refer to it.
            let kind = if at == 0 { 0 } else { rng.u8(0..6) };
            let name = match says & LITERAL_NAME {
                0 if at == 0 || rng.bool() => rng.u8(15..60),
                0 => 62,
                _ => [5, 6, 9][rng.usize(..3)],
            };
            match rng.u8(0..4) {
                // The field of a path as the value: it is what codes a text, too.
                0 => script.extend([FIELD_AS_VALUE | CODED_VALUE | says | kind, name, 0, 4, 0]),
                _ => script.extend([says | kind, name, rng.u8(0..10)]),
            }
        }
        let cuts = rng.u8(0..4);
        let padding = rng.bool().then(|| rng.u8(0..20));
        let priority = if rng.bool() { HAS_PRIORITY } else { 0 };
        script.push(cuts | priority | padding.map_or(0, |_| IS_PADDED));
        script.extend((0..cuts).map(|_| rng.u8(0..60)));
        script.extend(padding);
    }
    script
}
