//! Resources and the view that a session answers from.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest, Sha256};

/// One resource, as it stands in a snapshot. Cheap to clone. Its body can hold a private key, so
/// [`Debug`](fmt::Debug) shows the length alone.
#[derive(Clone, PartialEq, Eq)]
pub struct Resource {
    /// Its type URL.
    pub type_url: Arc<str>,
    /// Its name within the type.
    pub name: Arc<str>,
    /// Derived from content, so that it is the same after a restart.
    pub version: Arc<str>,
    /// The encoded payload.
    pub body: Bytes,
}

impl Resource {
    /// A resource whose version is the hash of its body (the first 16 bytes of SHA-256, hex).
    pub fn hashed(type_url: &str, name: &str, body: Bytes) -> Self {
        let version = hex::encode(&Sha256::digest(&body)[..16]);
        Self::versioned(type_url, name, &version, body)
    }

    /// A resource with a version of its own, such as a certificate's serial.
    pub fn versioned(type_url: &str, name: &str, version: &str, body: Bytes) -> Self {
        Self {
            type_url: type_url.into(),
            name: name.into(),
            version: version.into(),
            body,
        }
    }

    /// What it takes of a message, a little more at most.
    pub(crate) fn weight(&self) -> usize {
        self.body.len() + self.name.len() + self.version.len() + ENVELOPE_BYTES
    }
}

/// What a resource takes of a message beside its name, version and body: two type URLs, field tags.
pub(crate) const ENVELOPE_BYTES: usize = 192;

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resource")
            .field("type_url", &self.type_url)
            .field("name", &self.name)
            .field("version", &self.version)
            .field("body_bytes", &self.body.len())
            .finish()
    }
}

/// Which state an answer was made from. A restore from backup starts a new epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    /// The epoch of the state.
    pub epoch: u64,
    /// The sequence within it.
    pub sequence: u64,
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.sequence)
    }
}

impl std::str::FromStr for Stamp {
    type Err = std::num::ParseIntError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (epoch, sequence) = text.split_once('.').unwrap_or((text, ""));
        Ok(Self {
            epoch: epoch.parse()?,
            sequence: sequence.parse()?,
        })
    }
}

/// How a name stands for one consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is there.
    Present(Resource),
    /// It was taken away: a tombstone. Only this removes a resource from a consumer.
    Removed,
    /// Nothing is known of it, or this consumer may not have it: nothing is said.
    Absent,
}

/// What one consumer may see, at one moment.
pub trait View {
    /// The state that this view shows.
    fn stamp(&self) -> Stamp;
    /// How `name` stands.
    fn standing(&self, type_url: &str, name: &str) -> Standing;
    /// Every name of a type that is present or removed: what a wildcard subscribes to.
    fn names(&self, type_url: &str) -> Vec<Arc<str>>;
    /// Whether the stream serves this type at all.
    fn serves(&self, type_url: &str) -> bool;
    /// Whether anything can ever be of this name. What cannot is not remembered: it is absent, and
    /// stays so. As long as nothing else is known, everything can.
    fn is_possible(&self, _type_url: &str, _name: &str) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_content_has_equal_versions() {
        let version =
            |body: &'static [u8]| Resource::hashed("t", "n", Bytes::from_static(body)).version;
        assert_eq!(version(b"a"), version(b"a"));
        assert_ne!(version(b"a"), version(b"b"));
        assert_eq!(&*version(b""), "e3b0c44298fc1c149afbf4c8996fb924");
    }

    #[test]
    fn debug_keeps_the_body_to_itself() {
        let resource = Resource::hashed("t", "n", Bytes::from_static(b"private"));
        let shown = format!("{resource:?}");
        assert!(
            shown.contains("body_bytes: 7") && !shown.contains("private"),
            "{shown}"
        );
    }

    #[test]
    fn stamps_order_by_epoch_first() {
        let stamp = |text: &str| text.parse::<Stamp>().unwrap();
        assert!(stamp("2.0") > stamp("1.9"));
        assert!(stamp("1.10") > stamp("1.9"));
        assert_eq!(stamp("3.4").to_string(), "3.4");
        for text in ["", "1", "1.", ".1", "1.2.3", "-1.0"] {
            assert!(text.parse::<Stamp>().is_err(), "{text}");
        }
    }
}
