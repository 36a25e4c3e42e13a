//! The messages of the Workload API, made from what a caller may have. Pure.

use std::collections::BTreeSet;

use countersign_model::{Entitlement, Hint, Serial};
use countersign_proto::codec::Message;
use countersign_proto::workload::{X509BundlesResponse, X509svid, X509svidResponse};
use countersign_telemetry::{Principal, peer_line};
use countersign_verify::TrustBundle;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::attest::Caller;
use crate::holdings::{Held, Snapshot, Svid};

/// Most SVIDs in one message; a caller with more identities gets the first by rank.
pub(crate) const MAX_SVIDS: usize = 1_024;
/// Most bytes of SVIDs in one message, the first by rank as well: a gRPC client takes in 4 MiB unless
/// it was told otherwise, and a message beyond that breaks its stream.
pub(crate) const MAX_REPLY_BYTES: usize = 4 * 1024 * 1024 - 64 * 1024;
/// What an SVID takes in a message beside its texts, certificates and key: tags and lengths.
const SVID_ENVELOPE_BYTES: usize = 24;

/// What a caller may have at one moment: the bundle, and its identities, the default first.
pub(super) struct Handout<'a> {
    pub(super) bundle: &'a TrustBundle,
    admitted: Vec<&'a Held>,
    left_out: usize,
    now: Timestamp,
}

impl<'a> Handout<'a> {
    /// `None` before the first bundle, or for a caller without an identity.
    pub(super) fn new(snapshot: &'a Snapshot, caller: &Caller, now: Timestamp) -> Option<Self> {
        let admitted = caller.admitted(snapshot);
        let bundle = snapshot
            .bundle
            .as_deref()
            .filter(|_| !admitted.is_empty())?;
        let mut handout = Self {
            bundle,
            admitted,
            left_out: 0,
            now,
        };
        let fitting = handout.fitting();
        handout.left_out = handout.admitted.len() - fitting;
        handout.admitted.truncate(fitting);
        Some(handout)
    }

    /// How many identities, the default first, have room in one message.
    fn fitting(&self) -> usize {
        let roots = self.bundle.roots().iter();
        let bundle: usize = roots.map(|der| der.len()).sum();
        let mut bytes = 0;
        let fits = |held: &&&Held| {
            let svid = self
                .svid(held)
                .map_or(0, |svid| weight(held, svid) + bundle);
            bytes += svid;
            bytes <= MAX_REPLY_BYTES
        };
        self.admitted
            .iter()
            .take(MAX_SVIDS)
            .take_while(fits)
            .count()
    }

    /// How many identities have no room.
    pub(super) fn left_out(&self) -> usize {
        self.left_out
    }

    /// The identities whose credential is not held yet.
    pub(super) fn missing(&self) -> impl Iterator<Item = &'a Entitlement> {
        let missing = self
            .admitted
            .iter()
            .filter(|held| self.svid(held).is_none());
        missing.map(|held| held.entitlement.as_ref())
    }

    /// Whether the default identity can be handed out: the first of a message is the default by
    /// the standard, so a caller's first message must not begin with another.
    pub(super) fn has_default(&self) -> bool {
        let default = self.admitted.first();
        default.is_some_and(|held| self.svid(held).is_some())
    }

    /// Until when the last of the credentials is valid.
    pub(super) fn credential_end(&self) -> Option<Timestamp> {
        self.svids().map(|(_, svid)| svid.lifetime.not_after).max()
    }

    /// The certificates that are in it, the default first.
    pub(super) fn serials(&self) -> impl Iterator<Item = Serial> {
        self.svids().map(|(_, svid)| svid.serial)
    }

    fn svids(&self) -> impl Iterator<Item = (&'a Entitlement, &'a Svid)> {
        let held = self.admitted.iter();
        held.filter_map(|held| Some((held.entitlement.as_ref(), self.svid(held)?)))
    }

    fn svid(&self, held: &'a Held) -> Option<&'a Svid> {
        let svid = held.svid.as_deref()?;
        (!svid.lifetime.is_expired(self.now)).then_some(svid)
    }
}

/// What an SVID takes in a message, without the bundle.
fn weight(held: &Held, svid: &Svid) -> usize {
    let hint = held.entitlement.hint.as_ref().map_or("", Hint::as_str);
    let chain: usize = svid.chain.iter().map(|der| der.len()).sum();
    let texts = svid.id.as_str().len() + hint.len();
    texts + chain + svid.key.len() + SVID_ENVELOPE_BYTES
}

/// What stands for the content of a message: a hash, since each stream keeps that of its last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Content([u8; 32]);

impl Content {
    fn of(parts: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update(part);
            hash.update([b'\n']);
        }
        Self(hash.finalize().into())
    }
}

/// One kind of message.
pub(super) trait Reply: Message + 'static {
    /// Names this kind of consumer in the record.
    const CONSUMER: &'static str;

    /// Whether it says anything of the caller's credentials.
    const HOLDS_CREDENTIALS: bool;

    /// Whether a first message can be made of it.
    fn is_complete(handout: &Handout<'_>) -> bool;

    /// Whether any message can be made of it.
    fn is_possible(handout: &Handout<'_>) -> bool;

    /// Equal for messages of equal content.
    fn content(handout: &Handout<'_>) -> Content;

    /// The message.
    fn compose(handout: &Handout<'_>) -> Self;
}

impl Reply for X509svidResponse {
    const CONSUMER: &'static str = "workload";
    const HOLDS_CREDENTIALS: bool = true;

    fn is_complete(handout: &Handout<'_>) -> bool {
        handout.missing().next().is_none()
    }

    fn is_possible(handout: &Handout<'_>) -> bool {
        handout.svids().next().is_some()
    }

    fn content(handout: &Handout<'_>) -> Content {
        let svids = handout.svids().map(|(entitlement, svid)| {
            let hint = entitlement.hint.as_ref().map_or("", Hint::as_str);
            format!("{} {hint}", svid.serial)
        });
        let bundle = handout.bundle.version().to_owned();
        Content::of(std::iter::once(bundle).chain(svids))
    }

    fn compose(handout: &Handout<'_>) -> Self {
        let mut hints = BTreeSet::new();
        let svid = |(entitlement, svid): (&Entitlement, &Svid)| X509svid {
            spiffe_id: svid.id.to_string(),
            x509_svid: svid
                .chain
                .iter()
                .flat_map(|der| der.iter().copied())
                .collect(),
            x509_svid_key: svid.key.to_vec(),
            bundle: handout.bundle.to_der(),
            hint: unique_hint(&mut hints, entitlement),
        };
        Self {
            svids: handout.svids().map(svid).collect(),
            ..Self::default()
        }
    }
}

impl Reply for X509BundlesResponse {
    const CONSUMER: &'static str = "workload-bundles";
    const HOLDS_CREDENTIALS: bool = false;

    fn is_complete(_: &Handout<'_>) -> bool {
        true
    }

    fn is_possible(_: &Handout<'_>) -> bool {
        true
    }

    fn content(handout: &Handout<'_>) -> Content {
        Content::of([handout.bundle.version()])
    }

    fn compose(handout: &Handout<'_>) -> Self {
        let trust_domain = handout.bundle.trust_domain().id().to_string();
        Self {
            bundles: [(trust_domain, handout.bundle.to_der())].into(),
            ..Self::default()
        }
    }
}

/// A hint is unique within a message (section 5.2.1): of two that are equal the first stays.
fn unique_hint(taken: &mut BTreeSet<String>, entitlement: &Entitlement) -> String {
    let hint = entitlement.hint.as_ref().map_or("", Hint::as_str);
    if hint.is_empty() || taken.insert(hint.to_owned()) {
        return hint.to_owned();
    }
    let (hints, spiffe_id) = (Principal::part("hints"), &entitlement.spiffe_id);
    peer_line!(WARN, hints, %spiffe_id, hint, "two identities of one caller share a hint");
    String::new()
}
