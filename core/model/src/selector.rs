//! Selectors: what is known about a caller, and what a registration asks of one.
//!
//! A selector is `type:key:value`, such as `unix:uid:1000`. *Claimed* selectors are asserted by a
//! sidecar about the processes on its machine; they narrow which of the node's identities a
//! caller may use and never choose an identity at the control plane. That is why [`Claimed`] is a
//! type of its own and no function of the control plane takes it.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest selector text in bytes.
pub const MAX_SELECTOR_BYTES: usize = 1024;
/// Most selectors that one registration may ask for.
pub const MAX_SELECTORS: usize = 16;

/// Why a text is no selector, or a list no selector set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SelectorError {
    /// Not of the shape `type:key:value`.
    #[error("a selector is type:key:value, for example unix:uid:1000")]
    Shape,
    /// Longer than [`MAX_SELECTOR_BYTES`].
    #[error("a selector is at most {MAX_SELECTOR_BYTES} bytes long")]
    TooLong,
    /// A type or key that no attestor of this version produces.
    #[error(
        "unknown selector type or key: use unix:uid:<n>, unix:gid:<n> or unix:path:<absolute path>"
    )]
    Unknown,
    /// A value that its key does not allow.
    #[error("{0} needs {1}")]
    Value(&'static str, &'static str),
    /// No selector at all: it would match every caller.
    #[error("at least one selector is needed")]
    Empty,
    /// More than [`MAX_SELECTORS`].
    #[error("at most {MAX_SELECTORS} selectors are allowed")]
    TooMany,
}

/// One attribute of a calling process.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Selector {
    /// `unix:uid:<n>`: the effective user id of the caller.
    UnixUid(u32),
    /// `unix:gid:<n>`: the effective group id of the caller.
    UnixGid(u32),
    /// `unix:path:<absolute path>`: the executable of the caller.
    UnixPath(String),
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        if text.len() > MAX_SELECTOR_BYTES {
            return Err(SelectorError::TooLong);
        }
        let mut parts = text.splitn(3, ':');
        let (Some(kind), Some(key), Some(value)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(SelectorError::Shape);
        };
        match (kind, key) {
            ("unix", "uid") => decimal(value)
                .map(Self::UnixUid)
                .ok_or(SelectorError::Value("unix:uid", "a user id")),
            ("unix", "gid") => decimal(value)
                .map(Self::UnixGid)
                .ok_or(SelectorError::Value("unix:gid", "a group id")),
            ("unix", "path") if value.starts_with('/') && !value.contains(char::is_control) => {
                Ok(Self::UnixPath(value.to_owned()))
            }
            ("unix", "path") => Err(SelectorError::Value("unix:path", "an absolute path")),
            _ => Err(SelectorError::Unknown),
        }
    }
}

impl Selector {
    /// Whether a process can ever show it. One that was registered before this was asked for is
    /// still read, and matches nobody.
    ///
    /// # Errors
    /// What is wrong with its value.
    pub fn check_satisfiable(&self) -> Result<(), SelectorError> {
        match self {
            Self::UnixUid(NO_ID) => Err(SelectorError::Value("unix:uid", "a user id")),
            Self::UnixGid(NO_ID) => Err(SelectorError::Value("unix:gid", "a group id")),
            Self::UnixPath(path) if !is_kernels(path) => {
                Err(SelectorError::Value("unix:path", KERNELS_PATH))
            }
            Self::UnixUid(_) | Self::UnixGid(_) | Self::UnixPath(_) => Ok(()),
        }
    }
}

/// A path as the kernel tells it of an executable.
fn is_kernels(path: &str) -> bool {
    let is_name = |part: &str| !part.trim().is_empty() && part != "." && part != "..";
    path.strip_prefix('/')
        .is_some_and(|names| names.split('/').all(is_name))
        && path.trim_end() == path
        && !path.ends_with(DELETED)
}

/// The id that means "none" to the kernel.
const NO_ID: u32 = u32::MAX;
/// What the kernel adds to the path of an executable that was removed.
pub const DELETED: &str = " (deleted)";
const KERNELS_PATH: &str = "the path of an executable as `readlink /proc/<pid>/exe` tells it: absolute, \
     without empty or blank names, `.`, `..`, a blank at its end or \" (deleted)\"";

/// A canonical decimal: no sign, no leading zero, so that one value has one text.
fn decimal(text: &str) -> Option<u32> {
    let canonical = text == "0" || !text.starts_with(['0', '+']);
    canonical.then(|| text.parse().ok()).flatten()
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnixUid(uid) => write!(f, "unix:uid:{uid}"),
            Self::UnixGid(gid) => write!(f, "unix:gid:{gid}"),
            Self::UnixPath(path) => write!(f, "unix:path:{path}"),
        }
    }
}

impl Serialize for Selector {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Selector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// What a registration asks of a caller: *all* of these. Sorted, without repeats, never empty.
/// Clones share the list.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Vec<Selector>", into = "Vec<Selector>")]
pub struct SelectorSet(Arc<[Selector]>);

impl SelectorSet {
    /// Builds a set.
    ///
    /// # Errors
    /// [`SelectorError::Empty`] and [`SelectorError::TooMany`].
    pub fn new(selectors: impl IntoIterator<Item = Selector>) -> Result<Self, SelectorError> {
        let set: BTreeSet<_> = selectors.into_iter().collect();
        match set.len() {
            0 => Err(SelectorError::Empty),
            n if n > MAX_SELECTORS => Err(SelectorError::TooMany),
            _ => Ok(Self(set.into_iter().collect())),
        }
    }

    /// The selectors in their canonical order.
    pub fn iter(&self) -> impl Iterator<Item = &Selector> {
        self.0.iter()
    }

    /// Whether a caller with these attributes has *all* that this set asks for.
    pub fn is_satisfied_by(&self, claimed: &Claimed) -> bool {
        self.0.iter().all(|asked| claimed.0.contains(asked))
    }
}

impl TryFrom<Vec<Selector>> for SelectorSet {
    type Error = SelectorError;
    fn try_from(selectors: Vec<Selector>) -> Result<Self, SelectorError> {
        Self::new(selectors)
    }
}

impl From<SelectorSet> for Vec<Selector> {
    fn from(set: SelectorSet) -> Self {
        set.0.to_vec()
    }
}

/// What a sidecar saw about a caller on its machine. An attribute that could not be read is
/// absent, so it satisfies nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claimed(BTreeSet<Selector>);

impl Claimed {
    /// The selectors that were seen, in their canonical order.
    pub fn iter(&self) -> impl Iterator<Item = &Selector> {
        self.0.iter()
    }
}

impl FromIterator<Selector> for Claimed {
    fn from_iter<I: IntoIterator<Item = Selector>>(selectors: I) -> Self {
        Self(selectors.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Selector, SelectorError> {
        text.parse()
    }

    #[test]
    fn selectors_round_trip_as_text() {
        for text in [
            "unix:uid:0",
            "unix:gid:4294967295",
            "unix:path:/usr/bin/a:b",
        ] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn one_value_has_one_text() {
        for text in [
            "unix:uid:01",
            "unix:uid:+1",
            "unix:uid:-1",
            "unix:uid: 1",
            "unix:uid:4294967296",
        ] {
            assert!(
                matches!(parse(text), Err(SelectorError::Value(..))),
                "{text}"
            );
        }
        assert_eq!(parse("unix:uid"), Err(SelectorError::Shape));
        assert_eq!(parse("k8s:ns:default"), Err(SelectorError::Unknown));
        assert!(matches!(
            parse("unix:path:bin/sh"),
            Err(SelectorError::Value(..))
        ));
        assert!(matches!(
            parse("unix:path:/bin/\nsh"),
            Err(SelectorError::Value(..))
        ));
    }

    #[test]
    fn what_no_process_can_show_is_told() {
        for text in [
            "unix:path:/",
            "unix:path:/ ",
            "unix:path:/usr/bin/app ",
            "unix:path:/usr/ /app",
            "unix:path://usr/bin/app",
            "unix:path:/usr/bin/",
            "unix:path:/usr/./app",
            "unix:path:/usr/../app",
            "unix:path:/usr/bin/app (deleted)",
            "unix:uid:4294967295",
            "unix:gid:4294967295",
        ] {
            let selector = parse(text).expect("what is stored is read all the same");
            assert!(selector.check_satisfiable().is_err(), "{text}");
        }
        for text in ["unix:uid:0", "unix:gid:65534", "unix:path:/opt/a b/.c..d"] {
            assert_eq!(parse(text).unwrap().check_satisfiable(), Ok(()), "{text}");
        }
    }

    #[test]
    fn all_selectors_are_needed() {
        let set = SelectorSet::new([Selector::UnixUid(1), Selector::UnixGid(2)]).unwrap();
        let caller = |list: &[Selector]| list.iter().cloned().collect::<Claimed>();
        assert!(!set.is_satisfied_by(&caller(&[Selector::UnixUid(1)])));
        assert!(!set.is_satisfied_by(&caller(&[])));
        let both = [
            Selector::UnixUid(1),
            Selector::UnixGid(2),
            Selector::UnixPath("/a".into()),
        ];
        assert!(set.is_satisfied_by(&caller(&both)));
    }

    #[test]
    fn an_empty_set_does_not_exist() {
        assert_eq!(SelectorSet::new([]), Err(SelectorError::Empty));
        let many = (0..=16).map(Selector::UnixUid);
        assert_eq!(SelectorSet::new(many), Err(SelectorError::TooMany));
        assert!(serde_json::from_str::<SelectorSet>("[]").is_err());
    }
}
