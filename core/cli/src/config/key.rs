//! What a key is: declared once, beside the section that reads it.
//!
//! A [`Reader`](super::Reader) is asked with declarations, so a key that is read has a row in the
//! reference and in `config check --effective`, and no row is of a key that nobody reads.

/// The release in which the first keys came.
const FIRST: &str = "0.1.0";

/// The declaration of one key of a configuration.
///
/// Default and bounds belong to how it is read; where they are no plain value, words stand here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// The dotted name, such as `api.listen`; within a table its own alone, such as `allow`.
    pub name: &'static str,
    /// What it says, in a plain sentence or two.
    pub meaning: &'static str,
    /// What a text is, such as `SPIFFE ID`; empty where its kind of value says it all.
    pub kind: &'static str,
    /// What holds where it is not written, in words; empty where that is one value, or nothing.
    pub default: &'static str,
    /// What it may be, in words; empty where numbers or choices say it.
    pub bounds: &'static str,
    /// The first release that has it.
    pub since: &'static str,
}

impl Key {
    /// A key of the first release.
    pub const fn new(name: &'static str, meaning: &'static str) -> Self {
        Self {
            name,
            meaning,
            kind: "",
            default: "",
            bounds: "",
            since: FIRST,
        }
    }

    /// Says what a text is.
    #[must_use]
    pub const fn of(mut self, kind: &'static str) -> Self {
        self.kind = kind;
        self
    }

    /// Says in words what holds where it is not written.
    #[must_use]
    pub const fn by_default(mut self, words: &'static str) -> Self {
        self.default = words;
        self
    }

    /// Says in words what it may be.
    #[must_use]
    pub const fn within(mut self, words: &'static str) -> Self {
        self.bounds = words;
        self
    }

    /// Says which release has it first.
    #[must_use]
    pub const fn since(mut self, release: &'static str) -> Self {
        self.since = release;
        self
    }
}

impl AsRef<str> for Key {
    fn as_ref(&self) -> &str {
        self.name
    }
}
