//! `[ca]`: which CA certificates there are, and how long they live.

use std::time::Duration;

use countersign_authority::Hierarchy;
use countersign_cli::{Key, Reader};
use countersign_issue::profile::CA_BACKDATE;
use serde::Serialize;

use super::keys::CaKeys;
use super::svid::{Svid, whole};

const ROOT: Key = Key::new(
    "ca.root",
    "Whose root it is: made and kept by this control plane, or external, which is offline or \
     another's and signs an intermediate by hand.",
);
const INTERMEDIATE: Key = Key::new(
    "ca.intermediate",
    "Whether there is an intermediate between the root and the issuing CA.",
)
.by_default("false; true where `ca.root` is external");
const ROOT_TTL: Key = Key::new(
    "ca.root_ttl",
    "Lifetime of a root that is made here. Not shorter than that of what it signs.",
);
const INTERMEDIATE_TTL: Key = Key::new(
    "ca.intermediate_ttl",
    "Lifetime of an intermediate that is made here. At least twice `ca.issuing_ttl`.",
);
const ISSUING_TTL: Key = Key::new(
    "ca.issuing_ttl",
    "Lifetime of an issuing CA; it is replaced at half of it. At least six times `svid.x509_ttl`.",
);
const BACKDATE: Key = Key::new(
    "ca.backdate",
    "How far NotBefore of a CA lies before the time of issue. At least `svid.backdate`.",
);

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);
const SHORTEST: Duration = Duration::from_secs(120);
const LONGEST: Duration = Duration::from_secs(36_500 * 24 * 3_600);

/// An issuing CA lives at least this many SVID lifetimes, so that every SVID fits into the time
/// that its issuer has left.
pub const LIFETIMES_PER_ISSUING_CA: u32 = countersign_registry::rules::ISSUING_LIVES;
/// An intermediate lives at least this many lifetimes of an issuing CA: it is replaced at half of
/// its life, and an issuing CA fits into the other half.
const LIFETIMES_PER_INTERMEDIATE: u32 = 2;

/// Whose root it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Root {
    /// Made and kept by this control plane.
    Embedded,
    /// Offline or another's: it signs an intermediate by hand.
    External,
}

/// The CA certificates.
#[derive(Clone, Debug, Serialize)]
pub struct Ca {
    /// `root`.
    pub root: Root,
    /// `intermediate`: whether there is one between root and issuing CA.
    pub intermediate: bool,
    /// `root_ttl`.
    #[serde(rename = "root_ttl_secs", serialize_with = "super::whole_secs")]
    pub root_ttl: Duration,
    /// `intermediate_ttl`.
    #[serde(rename = "intermediate_ttl_secs", serialize_with = "super::whole_secs")]
    pub intermediate_ttl: Duration,
    /// `issuing_ttl`.
    #[serde(rename = "issuing_ttl_secs", serialize_with = "super::whole_secs")]
    pub issuing_ttl: Duration,
    /// `backdate`: how far NotBefore lies before the time of issue.
    #[serde(rename = "backdate_secs", serialize_with = "super::whole_secs")]
    pub backdate: Duration,
    /// `[ca.keys]` and `[ca.pkcs11]`.
    #[serde(flatten)]
    pub keys: CaKeys,
}

impl Ca {
    pub(super) fn read(reader: &mut Reader, svid: &Svid) -> Self {
        let root = root(reader);
        let ca = Self {
            root,
            intermediate: intermediate(reader, root),
            root_ttl: reader.duration(&ROOT_TTL, DAY * 3_650, SHORTEST..=LONGEST),
            intermediate_ttl: reader.duration(&INTERMEDIATE_TTL, DAY * 365, SHORTEST..=LONGEST),
            issuing_ttl: reader.duration(&ISSUING_TTL, DAY, SHORTEST..=LONGEST),
            backdate: whole(reader, &BACKDATE, HOUR, CA_BACKDATE),
            keys: CaKeys::read(reader, root),
        };
        ca.check_issuing(reader, svid.x509_ttl);
        ca.check_backdate(reader, svid.backdate);
        match root {
            Root::Embedded => ca.check_ours(reader),
            Root::External => check_unused(reader),
        }
        ca
    }

    /// What the authority builds.
    pub(super) fn hierarchy(&self) -> Hierarchy {
        let keys = &self.keys.stores;
        let is_ours = self.root == Root::Embedded;
        let intermediate = (keys.intermediate, self.intermediate_ttl);
        Hierarchy {
            root: is_ours.then_some(keys.root),
            intermediate: self.intermediate.then_some(intermediate),
            issuing: keys.issuing,
            pkcs11: self.keys.pkcs11.clone(),
        }
    }

    fn check_issuing(&self, reader: &mut Reader, x509_ttl: Duration) {
        if self.issuing_ttl < x509_ttl * LIFETIMES_PER_ISSUING_CA {
            reader.mistake(
                ISSUING_TTL,
                "is shorter than six lifetimes of an SVID",
                "raise ca.issuing_ttl to at least 6 times svid.x509_ttl, or lower svid.x509_ttl",
            );
        }
    }

    /// A leaf is not valid before its issuer. Where the issuer is younger than a leaf is dated back,
    /// NotBefore tells no sidecar when the leaf was issued.
    fn check_backdate(&self, reader: &mut Reader, of_leaves: Duration) {
        if self.backdate < of_leaves {
            reader.mistake(
                BACKDATE,
                "is shorter than svid.backdate: a certificate is not valid before its issuer",
                "raise ca.backdate to at least svid.backdate, or lower svid.backdate",
            );
        }
    }

    fn check_ours(&self, reader: &mut Reader) {
        if self.root_ttl < self.issuing_ttl {
            reader.mistake(
                ROOT_TTL,
                "is shorter than ca.issuing_ttl: a child never outlives its issuer",
                "raise ca.root_ttl or lower ca.issuing_ttl",
            );
        }
        if !self.intermediate {
            return;
        }
        if self.intermediate_ttl < self.issuing_ttl * LIFETIMES_PER_INTERMEDIATE {
            reader.mistake(
                INTERMEDIATE_TTL,
                "is shorter than two lifetimes of an issuing CA",
                "raise ca.intermediate_ttl to at least 2 times ca.issuing_ttl",
            );
        }
        if self.root_ttl < self.intermediate_ttl {
            reader.mistake(
                ROOT_TTL,
                "is shorter than ca.intermediate_ttl: a child never outlives its issuer",
                "raise ca.root_ttl or lower ca.intermediate_ttl",
            );
        }
    }
}

fn root(reader: &mut Reader) -> Root {
    let remedy = "write \"embedded\", or \"external\" for a root that is offline or another's";
    let choices = [("embedded", Root::Embedded), ("external", Root::External)];
    reader.choice(&ROOT, Root::Embedded, &choices, remedy)
}

/// Below a root that is not ours there is always one: it signs nothing else for us.
fn intermediate(reader: &mut Reader, root: Root) -> bool {
    let is_external = root == Root::External;
    let intermediate = reader.boolean(&INTERMEDIATE, is_external);
    if is_external && !intermediate {
        reader.mistake(
            INTERMEDIATE,
            "is false, but an external root signs an intermediate",
            "leave it out, or write true",
        );
    }
    intermediate
}

/// Whoever signs for us decides how long it is valid.
fn check_unused(reader: &mut Reader) {
    for key in [&ROOT_TTL, &INTERMEDIATE_TTL] {
        if reader.contains(key) {
            reader.mistake(
                key,
                "has no effect where ca.root is \"external\": who signs decides",
                "remove it",
            );
        }
    }
}
