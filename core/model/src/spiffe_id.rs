//! SPIFFE IDs and trust domains, strict as SPIFFE-ID.md sections 2.1 to 2.4 write them.
//!
//! A value is byte-equal to the text it was parsed from: nothing is folded, decoded or
//! normalised, because every normalisation is a chance for two texts to become one identity.
//! Upper case in scheme or trust domain is refused rather than folded.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest SPIFFE ID in bytes (SPIFFE-ID.md section 2.3).
pub const MAX_ID_BYTES: usize = 2048;
/// Longest trust domain name in bytes (SPIFFE-ID.md section 2.3).
pub const MAX_TRUST_DOMAIN_BYTES: usize = 255;

const SCHEME: &str = "spiffe://";
const CONTROL_PLANE_PATH: &str = "/countersign/control-plane";
const RESERVED_SEGMENT: &str = "countersign";

/// The rule of the standard that a text breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IdRule {
    /// Longer than [`MAX_ID_BYTES`].
    TooLong,
    /// Does not begin with `spiffe://`.
    Scheme,
    /// No trust domain between `spiffe://` and the path.
    EmptyTrustDomain,
    /// Trust domain longer than [`MAX_TRUST_DOMAIN_BYTES`].
    TrustDomainTooLong,
    /// Trust domain with a byte outside `a-z 0-9 . - _` (upper case, port, user info, `%`).
    TrustDomainCharacter,
    /// Path with a byte outside `a-z A-Z 0-9 . - _` (query, fragment, `%`, NUL, space).
    PathCharacter,
    /// `//` inside the path.
    EmptySegment,
    /// A `.` or `..` segment.
    DotSegment,
    /// A path that ends with `/`.
    TrailingSlash,
    /// A path where a trust domain name was expected.
    UnexpectedPath,
    /// No path where a workload or node was expected.
    MissingPath,
}

impl IdRule {
    /// A stable code for scripts.
    pub fn code(self) -> &'static str {
        match self {
            Self::TooLong => "id_too_long",
            Self::Scheme => "scheme_not_spiffe",
            Self::EmptyTrustDomain => "trust_domain_empty",
            Self::TrustDomainTooLong => "trust_domain_too_long",
            Self::TrustDomainCharacter => "trust_domain_character",
            Self::PathCharacter => "path_character",
            Self::EmptySegment => "path_empty_segment",
            Self::DotSegment => "path_dot_segment",
            Self::TrailingSlash => "path_trailing_slash",
            Self::UnexpectedPath => "path_unexpected",
            Self::MissingPath => "path_missing",
        }
    }

    /// The section of SPIFFE-ID.md that states the rule.
    pub fn section(self) -> &'static str {
        match self {
            Self::TooLong | Self::TrustDomainTooLong => "SPIFFE-ID.md section 2.3",
            Self::Scheme => "SPIFFE-ID.md section 2",
            Self::EmptyTrustDomain | Self::TrustDomainCharacter => "SPIFFE-ID.md section 2.1",
            Self::PathCharacter | Self::EmptySegment | Self::DotSegment | Self::TrailingSlash => {
                "SPIFFE-ID.md section 2.2"
            }
            Self::UnexpectedPath | Self::MissingPath => "X509-SVID.md section 2",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::TooLong => "is longer than 2048 bytes",
            Self::Scheme => "does not begin with spiffe:// in lower case",
            Self::EmptyTrustDomain => "has no trust domain",
            Self::TrustDomainTooLong => "has a trust domain longer than 255 bytes",
            Self::TrustDomainCharacter => {
                "has a trust domain with a character outside a-z, 0-9, '.', '-' and '_'"
            }
            Self::PathCharacter => {
                "has a path with a character outside a-z, A-Z, 0-9, '.', '-' and '_'"
            }
            Self::EmptySegment => "has an empty path segment",
            Self::DotSegment => "has a '.' or '..' path segment",
            Self::TrailingSlash => "ends with '/'",
            Self::UnexpectedPath => "has a path where only a trust domain is expected",
            Self::MissingPath => "has no path",
        }
    }
}

/// A text is not a SPIFFE ID. The text itself is not repeated: it may be hostile and long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the SPIFFE ID {} ({})", .rule.text(), .rule.section())]
pub struct SpiffeIdError {
    /// Which rule is broken.
    pub rule: IdRule,
}

impl From<IdRule> for SpiffeIdError {
    fn from(rule: IdRule) -> Self {
        Self { rule }
    }
}

/// The name of a trust domain, such as `example.org`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrustDomain(Box<str>);

impl TrustDomain {
    /// Parses a bare name (`example.org`, not `spiffe://example.org`).
    ///
    /// # Errors
    /// The rule of SPIFFE-ID.md section 2.1 that the name breaks.
    pub fn new(name: &str) -> Result<Self, SpiffeIdError> {
        check_trust_domain(name)?;
        Ok(Self(name.into()))
    }

    /// The bare name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The ID of the trust domain itself, `spiffe://<name>`, without a path.
    pub fn id(&self) -> SpiffeId {
        SpiffeId {
            text: format!("{SCHEME}{}", self.0).into(),
            path_at: SCHEME.len() + self.0.len(),
        }
    }

    /// The identity under which a control plane of this trust domain serves.
    pub fn control_plane(&self) -> SpiffeId {
        let mut id = self.id();
        id.text = format!("{}{CONTROL_PLANE_PATH}", id.text).into();
        id
    }
}

/// A SPIFFE ID. With an empty path it names the trust domain itself. Clones share the text.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpiffeId {
    text: Arc<str>,
    path_at: usize,
}

impl SpiffeId {
    /// Parses a SPIFFE ID, with or without a path.
    ///
    /// # Errors
    /// The first rule of SPIFFE-ID.md that the text breaks.
    pub fn new(text: &str) -> Result<Self, SpiffeIdError> {
        if text.len() > MAX_ID_BYTES {
            return Err(IdRule::TooLong.into());
        }
        let rest = text.strip_prefix(SCHEME).ok_or(IdRule::Scheme)?;
        let name = rest.split_once('/').map_or(rest, |(name, _)| name);
        check_trust_domain(name)?;
        let path_at = SCHEME.len() + name.len();
        check_path(&text[path_at..])?;
        Ok(Self {
            text: text.into(),
            path_at,
        })
    }

    /// Parses the ID of a workload or node: a path is required (X509-SVID.md section 2).
    ///
    /// # Errors
    /// As [`SpiffeId::new`], and [`IdRule::MissingPath`].
    pub fn with_path(text: &str) -> Result<Self, SpiffeIdError> {
        let id = Self::new(text)?;
        if id.path().is_empty() {
            Err(IdRule::MissingPath.into())
        } else {
            Ok(id)
        }
    }

    /// The whole text, byte-equal to what was parsed.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The path with its leading slash, or the empty string.
    pub fn path(&self) -> &str {
        &self.text[self.path_at..]
    }

    /// The trust domain of this ID.
    pub fn trust_domain(&self) -> TrustDomain {
        TrustDomain(self.text[SCHEME.len()..self.path_at].into())
    }

    /// Whether this ID belongs to `trust_domain`.
    pub fn is_member_of(&self, trust_domain: &TrustDomain) -> bool {
        self.text[SCHEME.len()..self.path_at] == *trust_domain.0
    }

    /// Whether this ID is `above` or below it, by whole segments: `/a` is not above `/ab`.
    pub fn is_at_or_below(&self, above: &Self) -> bool {
        let below = self.text.strip_prefix(&*above.text);
        below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Whether the path lies under `/countersign`, which no registration may hand out.
    pub fn is_reserved(&self) -> bool {
        self.path().split('/').nth(1) == Some(RESERVED_SEGMENT)
    }
}

fn check_trust_domain(name: &str) -> Result<(), SpiffeIdError> {
    let allowed = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_');
    if name.is_empty() {
        Err(IdRule::EmptyTrustDomain.into())
    } else if name.len() > MAX_TRUST_DOMAIN_BYTES {
        Err(IdRule::TrustDomainTooLong.into())
    } else if !name.bytes().all(allowed) {
        Err(IdRule::TrustDomainCharacter.into())
    } else {
        Ok(())
    }
}

fn check_path(path: &str) -> Result<(), SpiffeIdError> {
    if path.is_empty() {
        return Ok(());
    }
    if path.ends_with('/') {
        return Err(IdRule::TrailingSlash.into());
    }
    path[1..].split('/').try_for_each(check_segment)
}

fn check_segment(segment: &str) -> Result<(), SpiffeIdError> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    match segment {
        "" => Err(IdRule::EmptySegment.into()),
        "." | ".." => Err(IdRule::DotSegment.into()),
        _ if !segment.bytes().all(allowed) => Err(IdRule::PathCharacter.into()),
        _ => Ok(()),
    }
}

/// Text conversions that both types share: display, parse, serde as a plain string.
macro_rules! as_text {
    ($type:ty, $parse:path) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self.as_str(), f)
            }
        }
        impl FromStr for $type {
            type Err = SpiffeIdError;
            fn from_str(text: &str) -> Result<Self, SpiffeIdError> {
                $parse(text)
            }
        }
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                $parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}
as_text!(TrustDomain, TrustDomain::new);
as_text!(SpiffeId, SpiffeId::new);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rule(text: &str) -> IdRule {
        SpiffeId::new(text).expect_err(text).rule
    }

    #[test]
    fn every_rule_is_named() {
        for (text, expected) in [
            ("", IdRule::Scheme),
            ("http://example.org/a", IdRule::Scheme),
            ("SPIFFE://example.org/a", IdRule::Scheme),
            ("spiffe://", IdRule::EmptyTrustDomain),
            ("spiffe:///a", IdRule::EmptyTrustDomain),
            ("spiffe://EXAMPLE.org/a", IdRule::TrustDomainCharacter),
            ("spiffe://user@example.org/a", IdRule::TrustDomainCharacter),
            ("spiffe://example.org:80/a", IdRule::TrustDomainCharacter),
            ("spiffe://ex%61mple.org/a", IdRule::TrustDomainCharacter),
            ("spiffe://example.org?x", IdRule::TrustDomainCharacter),
            ("spiffe://example.org/", IdRule::TrailingSlash),
            ("spiffe://example.org/a/", IdRule::TrailingSlash),
            ("spiffe://example.org//a", IdRule::EmptySegment),
            ("spiffe://example.org/a//b", IdRule::EmptySegment),
            ("spiffe://example.org/./a", IdRule::DotSegment),
            ("spiffe://example.org/a/..", IdRule::DotSegment),
            ("spiffe://example.org/%77eb", IdRule::PathCharacter),
            ("spiffe://example.org/web?x=1", IdRule::PathCharacter),
            ("spiffe://example.org/web#x", IdRule::PathCharacter),
            ("spiffe://example.org/we\0b", IdRule::PathCharacter),
            ("spiffe://example.org/wéb", IdRule::PathCharacter),
        ] {
            assert_eq!(rule(text), expected, "{text:?}");
        }
    }

    #[test]
    fn length_limits_are_exact() {
        let id = |len: usize| format!("spiffe://example.org/{}", "a".repeat(len - 21));
        assert!(SpiffeId::new(&id(MAX_ID_BYTES)).is_ok());
        assert_eq!(rule(&id(MAX_ID_BYTES + 1)), IdRule::TooLong);
        assert!(TrustDomain::new(&"a".repeat(MAX_TRUST_DOMAIN_BYTES)).is_ok());
        let long = TrustDomain::new(&"a".repeat(MAX_TRUST_DOMAIN_BYTES + 1));
        assert_eq!(long.expect_err("too long").rule, IdRule::TrustDomainTooLong);
    }

    #[test]
    fn parts_are_found_and_reserved_space_is_known() {
        let td = TrustDomain::new("example.org").unwrap();
        let id = SpiffeId::new("spiffe://example.org/a/b").unwrap();
        assert_eq!((id.path(), id.trust_domain()), ("/a/b", td.clone()));
        assert!(id.is_member_of(&td) && !id.is_reserved());
        assert!(
            !SpiffeId::new("spiffe://example.orgx/a")
                .unwrap()
                .is_member_of(&td)
        );
        assert_eq!(td.id().path(), "");
        assert!(td.control_plane().is_reserved());
        assert!(
            SpiffeId::new("spiffe://example.org/countersign")
                .unwrap()
                .is_reserved()
        );
        assert!(
            !SpiffeId::new("spiffe://example.org/countersigner")
                .unwrap()
                .is_reserved()
        );
        assert!(SpiffeId::with_path("spiffe://example.org").is_err());
    }

    proptest! {
        #[test]
        fn what_parses_is_byte_equal(text in "(spiffe://)?[a-zA-Z0-9._%/:-]{0,40}") {
            if let Ok(id) = SpiffeId::new(&text) {
                prop_assert_eq!(id.to_string(), text.clone());
                prop_assert!(!id.path().contains("/./") && !text.contains('%'));
                prop_assert_eq!(format!("spiffe://{}{}", id.trust_domain(), id.path()), text);
            }
        }

        #[test]
        fn arbitrary_text_never_panics(text in ".{0,80}") {
            let _ = SpiffeId::new(&text);
            let _ = TrustDomain::new(&text);
        }
    }
}
