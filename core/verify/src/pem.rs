//! PEM (RFC 7468) as OpenSSL reads it, in one pass over the lines: the only reader of text from
//! outside, whatever it is of.
//!
//! Text before, between and after blocks is passed over, so that what `openssl x509 -text` and
//! bundles with comments hold is read. Lines may end with CRLF and have any length, a byte order
//! mark may come first, and white space in and around the base64 says nothing.
//!
//! What OpenSSL passes over as text although somebody meant a block by it is refused here: a line
//! that begins or ends a block almost, an end without a beginning, and a block of another kind,
//! such as the private key. A list of roots must not become shorter without a word. Empty lines
//! within a block say nothing, and headers of RFC 1421 are refused; OpenSSL has both the other way.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// What a certificate stands under; the second is an old name of it.
pub const CERTIFICATE: Kind = Kind(&["CERTIFICATE", "X509 CERTIFICATE"]);
/// What a certification request stands under; `keytool` writes the second (RFC 7468 section 7).
pub const CERTIFICATE_REQUEST: Kind = Kind(&["CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"]);
/// What a private key stands under that is neither encrypted nor of a form of its own (RFC 7468 section 10).
pub const PRIVATE_KEY: Kind = Kind(&["PRIVATE KEY"]);
/// What a revocation list stands under.
pub const REVOCATION_LIST: Kind = Kind(&["X509 CRL"]);

/// A kind of block, by its names; the usual one first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind(&'static [&'static str]);

impl Kind {
    /// Its usual name.
    pub fn name(self) -> &'static str {
        self.0[0]
    }
}

/// How much is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of text.
    pub text: usize,
    /// Blocks.
    pub blocks: usize,
    /// Bytes of what one block holds.
    pub block: usize,
}

/// Why a text is not what was asked for. Lines count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PemError {
    /// Longer than the bound.
    #[error("the PEM text has {bytes} bytes, more than {most}")]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// The bound.
        most: usize,
    },
    /// No block in it.
    #[error("there is no PEM block of a {wanted} in it")]
    NoBlock {
        /// What was asked for.
        wanted: &'static str,
    },
    /// More blocks than the bound.
    #[error("line {line} begins one PEM block more than the {most} that are read")]
    TooMany {
        /// Where the first one too many begins.
        line: usize,
        /// The bound.
        most: usize,
    },
    /// A block that holds more than the bound.
    #[error("the PEM block that goes on in line {line} holds more than {most} bytes")]
    BlockTooLarge {
        /// Where the bound is passed.
        line: usize,
        /// The bound.
        most: usize,
    },
    /// A block of another kind.
    #[error("line {line} begins a PEM block that is not of a {wanted}")]
    OtherKind {
        /// Where it begins.
        line: usize,
        /// What was asked for.
        wanted: &'static str,
    },
    /// A line that nearly begins or ends a block, or does so where none can.
    #[error("line {line} is no boundary of a PEM block in this place, and looks like one")]
    Boundary {
        /// Which line.
        line: usize,
    },
    /// A line of a block that is no base64.
    #[error("line {line} stands in a PEM block and is no base64")]
    NoBase64 {
        /// Which line.
        line: usize,
    },
    /// A block without an end.
    #[error("the PEM block that begins in line {line} has no end")]
    NoEnd {
        /// Where it begins.
        line: usize,
    },
}

/// What the blocks of a text hold, at least one.
///
/// # Errors
/// The first line that is not as it must be.
pub fn read(text: &[u8], kind: Kind, bounds: Bounds) -> Result<Vec<Vec<u8>>, PemError> {
    if text.len() > bounds.text {
        let (bytes, most) = (text.len(), bounds.text);
        return Err(PemError::TooLarge { bytes, most });
    }
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let mut reader = Reader {
        kind,
        bounds,
        open: None,
        blocks: Vec::new(),
    };
    for (number, line) in (1..).zip(text.split(|byte| *byte == b'\n')) {
        reader.line(number, line)?;
    }
    match reader.open {
        Some(Open { line, .. }) => Err(PemError::NoEnd { line }),
        None if reader.blocks.is_empty() => Err(PemError::NoBlock {
            wanted: kind.name(),
        }),
        None => Ok(reader.blocks),
    }
}

/// One block with lines of 64 characters.
pub fn write(kind: Kind, contents: &[u8]) -> String {
    let name = kind.name();
    let base64 = STANDARD.encode(contents);
    let mut text = format!("-----BEGIN {name}-----\n");
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, tail) = rest.split_at(rest.len().min(LINE_CHARACTERS));
        text.push_str(line);
        text.push('\n');
        rest = tail;
    }
    text.push_str("-----END ");
    text.push_str(name);
    text.push_str("-----\n");
    text
}

struct Reader {
    kind: Kind,
    bounds: Bounds,
    open: Option<Open>,
    blocks: Vec<Vec<u8>>,
}

/// A block that has begun.
struct Open {
    line: usize,
    label: &'static str,
    base64: Vec<u8>,
}

impl Reader {
    fn line(&mut self, number: usize, line: &[u8]) -> Result<(), PemError> {
        let line = trim_end(line);
        match self.open.take() {
            None => self.open = self.outside(number, line)?,
            Some(open) => self.open = self.inside(open, number, line)?,
        }
        Ok(())
    }

    fn outside(&self, number: usize, line: &[u8]) -> Result<Option<Open>, PemError> {
        if !looks_like_a_boundary(line) {
            return Ok(None);
        }
        let label = boundary(line, BEGIN).ok_or(PemError::Boundary { line: number })?;
        let known = self.kind.0.iter().find(|known| known.as_bytes() == label);
        let label = known.ok_or(PemError::OtherKind {
            line: number,
            wanted: self.kind.name(),
        })?;
        if self.blocks.len() == self.bounds.blocks {
            let most = self.bounds.blocks;
            return Err(PemError::TooMany { line: number, most });
        }
        Ok(Some(Open {
            line: number,
            label,
            base64: Vec::new(),
        }))
    }

    fn inside(
        &mut self,
        mut open: Open,
        number: usize,
        line: &[u8],
    ) -> Result<Option<Open>, PemError> {
        if looks_like_a_boundary(line) {
            if boundary(line, END) != Some(open.label.as_bytes()) {
                return Err(PemError::Boundary { line: number });
            }
            let contents = STANDARD.decode(&open.base64);
            let contents = contents.map_err(|_| PemError::NoBase64 { line: number })?;
            self.blocks.push(contents);
            return Ok(None);
        }
        let digits = line.iter().filter(|byte| !byte.is_ascii_whitespace());
        for digit in digits {
            if !is_base64(*digit) {
                return Err(PemError::NoBase64 { line: number });
            }
            open.base64.push(*digit);
        }
        let most = self.bounds.block;
        if open.base64.len() > most.div_ceil(3) * 4 {
            return Err(PemError::BlockTooLarge { line: number, most });
        }
        Ok(Some(open))
    }
}

/// Without white space and control characters at the end, as OpenSSL trims it.
fn trim_end(line: &[u8]) -> &[u8] {
    let end = line.iter().rposition(|byte| *byte > b' ');
    end.map_or(&[], |last| &line[..=last])
}

/// The label of a whole boundary.
fn boundary<'l>(line: &'l [u8], begin: &[u8]) -> Option<&'l [u8]> {
    let label = line.strip_prefix(begin)?.strip_suffix(DASHES)?;
    (!contains(label, DASHES)).then_some(label)
}

/// Whether somebody who wrote this line meant a boundary by it.
fn looks_like_a_boundary(line: &[u8]) -> bool {
    contains(line, b"-BEGIN ") || contains(line, b"-END ")
}

fn contains(line: &[u8], part: &[u8]) -> bool {
    line.windows(part.len()).any(|window| window == part)
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')
}

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const DASHES: &[u8] = b"-----";
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
const LINE_CHARACTERS: usize = 64;

#[cfg(test)]
mod tests;
