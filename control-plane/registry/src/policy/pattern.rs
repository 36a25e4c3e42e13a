//! Patterns over the paths of SPIFFE IDs and over DNS names, in whole segments and labels.
//!
//! `*` stands for one segment or label, `**` for one or more: at the end of a path, at the
//! beginning of a DNS name. Everything else is literal, byte for byte. No pattern matches a part
//! of a segment, so `/pay/*` never covers `/payroll/x` by a slip.

use std::fmt;

use countersign_model::SpiffeId;
use serde::{Serialize, Serializer};

use crate::rules;

/// Longest pattern in bytes.
const MAX_PATTERN_BYTES: usize = 512;
const ONE: &str = "*";
const MANY: &str = "**";

/// A text that is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Longer than the bound.
    #[error("is longer than {MAX_PATTERN_BYTES} bytes")]
    TooLong,
    /// A path begins with a slash.
    #[error("does not begin with /")]
    NoSlash,
    /// A wildcard within a segment.
    #[error("has a * within a segment; * and ** stand for whole ones")]
    PartOfSegment,
    /// `**` stands at the end only.
    #[error("has a ** before its end")]
    ManyBeforeTheEnd,
    /// No path of a SPIFFE ID.
    #[error("could match no SPIFFE path: {0}")]
    Path(countersign_model::spiffe_id::SpiffeIdError),
    /// No pattern over DNS names.
    #[error("is no DNS name, *.name or **.name in lower case")]
    Dns,
}

/// A pattern over the path of a SPIFFE ID, such as `/node/pay/*` or `/pay/**`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPattern {
    text: String,
    /// `None` stands for any one segment.
    segments: Vec<Option<String>>,
    /// One or more segments may follow.
    is_open: bool,
}

impl PathPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// The text is none.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.len() > MAX_PATTERN_BYTES {
            return Err(PatternError::TooLong);
        }
        let rest = text.strip_prefix('/').ok_or(PatternError::NoSlash)?;
        let mut written: Vec<_> = rest.split('/').collect();
        let is_open = written.last() == Some(&MANY);
        if is_open {
            written.pop();
        }
        let segments = written.into_iter().map(segment).collect::<Result<_, _>>()?;
        Ok(Self {
            text: text.to_owned(),
            segments,
            is_open,
        })
    }

    /// Whether the path, with its leading slash, is one of those that the pattern stands for.
    pub fn matches(&self, path: &str) -> bool {
        let Some(path) = path.strip_prefix('/') else {
            return false;
        };
        let mut there = path.split('/');
        let all_fit = self.segments.iter().all(|wanted| match there.next() {
            Some(segment) => wanted.as_ref().is_none_or(|wanted| wanted == segment),
            None => false,
        });
        all_fit && there.next().is_some() == self.is_open
    }
}

fn segment(written: &str) -> Result<Option<String>, PatternError> {
    match written {
        ONE => Ok(None),
        MANY => Err(PatternError::ManyBeforeTheEnd),
        _ if written.contains('*') => Err(PatternError::PartOfSegment),
        literal => {
            // What no SPIFFE ID can contain would be a rule that never holds.
            let path = format!("spiffe://any/{literal}");
            SpiffeId::new(&path).map_err(PatternError::Path)?;
            Ok(Some(literal.to_owned()))
        }
    }
}

/// A pattern over DNS names, such as `web.example.org`, `*.example.org` or `**.example.org`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsPattern {
    text: String,
}

impl DnsPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// The text is none.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let name = text.strip_prefix("**.").or_else(|| text.strip_prefix("*."));
        if !rules::is_dns_name(name.unwrap_or(text)) {
            return Err(PatternError::Dns);
        }
        Ok(Self {
            text: text.to_owned(),
        })
    }

    /// Whether the name is one of those that the pattern stands for.
    pub fn matches(&self, name: &str) -> bool {
        let labels_before = |suffix: &str| {
            let before = name.strip_suffix(suffix)?.strip_suffix('.')?;
            Some(before).filter(|before| !before.is_empty())
        };
        if let Some(suffix) = self.text.strip_prefix("**.") {
            labels_before(suffix).is_some()
        } else if let Some(suffix) = self.text.strip_prefix("*.") {
            labels_before(suffix).is_some_and(|before| !before.contains('.'))
        } else {
            self.text == name
        }
    }
}

/// Both kinds are written as they were read.
macro_rules! as_text {
    ($type:ty) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.text)
            }
        }
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.text)
            }
        }
    };
}
as_text!(PathPattern);
as_text!(DnsPattern);
