//! What one caller may see of what this node holds.

use std::cell::{Cell, OnceCell};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use countersign_discovery::{Resource, Stamp, Standing, View};
use countersign_envoy::{SECRET_TYPE, spiffe_validator, tls_certificate, trusted_ca};
use countersign_model::{EntitlementId, SpiffeId};
use countersign_verify::TrustBundle;
use jiff::Timestamp;

use super::Shared;
use super::stream::Given;
use crate::attest::Caller;
use crate::holdings::{Held, Snapshot, Svid};

/// The caller's default identity.
pub(super) const DEFAULT: &str = "default";
/// The roots of our own trust domain, plain.
pub(super) const ROOT_CA: &str = "ROOTCA";
/// The bundles of every trust domain, for Envoy's SPIFFE validator.
pub(super) const ALL: &str = "ALL";

/// A snapshot through the eyes of one caller. To make one costs nothing.
pub(super) struct CallerView<'a> {
    shared: &'a Shared,
    snapshot: &'a Snapshot,
    caller: &'a Caller,
    given: &'a Given,
    now: Timestamp,
    /// What the caller may have, the default first.
    admitted: OnceCell<Vec<&'a Held>>,
    /// The best entitlement to each ID, once there were many questions.
    by_id: OnceCell<HashMap<&'a str, &'a Held>>,
    asked: Cell<usize>,
}

/// So many identities are looked through one by one, and so often, before they are put in order.
const FEW: usize = 8;

/// What a name comes to, for the record of consumers.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) name: String,
    /// The version of the secret of that name, where there is one.
    pub(super) version: Option<Arc<str>>,
    pub(super) is_bundle: bool,
    /// See [`CallerView::credential_end`].
    pub(super) credential_end: Option<Timestamp>,
}

/// What a name stands for, whoever asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NameKind {
    /// The caller's default identity.
    Default,
    /// A trust bundle, whatever its dress.
    Bundle,
    /// The identity of that ID, if it is one.
    Identity,
}

impl Shared {
    pub(super) fn kind_of(&self, name: &str) -> NameKind {
        match name {
            DEFAULT => NameKind::Default,
            ROOT_CA | ALL => NameKind::Bundle,
            id if id == self.api.trust_domain_id.as_str() => NameKind::Bundle,
            _ => NameKind::Identity,
        }
    }
}

/// What a name means to this caller.
enum Meaning<'a> {
    Identity(Option<&'a Held>),
    Roots(&'a TrustBundle),
    Validator(&'a TrustBundle),
    Nothing,
}

impl<'a> CallerView<'a> {
    pub(super) fn new(
        shared: &'a Shared,
        snapshot: &'a Snapshot,
        caller: &'a Caller,
        given: &'a Given,
    ) -> Self {
        Self {
            shared,
            snapshot,
            caller,
            given,
            now: shared.api.now(),
            admitted: OnceCell::new(),
            by_id: OnceCell::new(),
            asked: Cell::new(0),
        }
    }

    fn admitted(&self) -> &[&'a Held] {
        self.admitted
            .get_or_init(|| self.caller.admitted(self.snapshot))
    }

    /// Every name under which this caller may have something now, or was given something; one can
    /// come twice.
    pub(super) fn known(&self) -> impl Iterator<Item = &str> {
        let bundle = self.snapshot.bundle.as_ref();
        let bundle = bundle.map(|_| self.shared.api.trust_domain_id.as_str());
        let identities = self.admitted().iter();
        let identities = identities.map(|held| held.entitlement.spiffe_id.as_str());
        let given = self.given.keys().map(String::as_str);
        let fixed = [DEFAULT, ROOT_CA, ALL].into_iter();
        fixed.chain(bundle).chain(identities).chain(given)
    }

    /// What a name comes to now.
    pub(super) fn find(&self, name: &str) -> Finding {
        Finding {
            name: name.to_owned(),
            version: self.version(name),
            is_bundle: self.is_bundle(name),
            credential_end: self.credential_end(name),
        }
    }

    /// The version of the secret of that name, which need not be made for it.
    pub(super) fn version(&self, name: &str) -> Option<Arc<str>> {
        match self.meaning(name) {
            Meaning::Identity(held) => Some(self.svid(held?)?.serial.to_string().into()),
            Meaning::Roots(bundle) | Meaning::Validator(bundle) => Some(bundle.version().into()),
            Meaning::Nothing => None,
        }
    }

    /// The entitlement behind a name whose credential is not held yet.
    pub(super) fn missing(&self, name: &str) -> Option<&'a EntitlementId> {
        match self.meaning(name) {
            Meaning::Identity(Some(held)) if self.svid(held).is_none() => {
                Some(&held.entitlement.id)
            }
            _ => None,
        }
    }

    /// Whether a name is that of a trust bundle which this caller may have.
    fn is_bundle(&self, name: &str) -> bool {
        matches!(
            self.meaning(name),
            Meaning::Roots(_) | Meaning::Validator(_)
        )
    }

    /// Until when the caller can use what it gets by this name: the end of that certificate, or
    /// for a bundle the end of the last certificate that it can present beside it.
    pub(super) fn credential_end(&self, name: &str) -> Option<Timestamp> {
        let end = |held: &&'a Held| Some(self.svid(held)?.lifetime.not_after);
        match self.meaning(name) {
            Meaning::Identity(held) => held.as_ref().and_then(end),
            Meaning::Roots(_) | Meaning::Validator(_) => {
                self.admitted().iter().filter_map(end).max()
            }
            Meaning::Nothing => None,
        }
    }

    /// A caller without an identity gets nothing, not even a bundle.
    fn meaning(&self, name: &str) -> Meaning<'a> {
        self.shared.metrics.looked_up();
        let bundle = self.snapshot.bundle.as_deref();
        match (name, self.admitted().first(), bundle) {
            (_, None, _) => Meaning::Nothing,
            (DEFAULT, default, _) => Meaning::Identity(default.copied()),
            (ROOT_CA, _, Some(bundle)) => Meaning::Roots(bundle),
            (ALL, _, Some(bundle)) => Meaning::Validator(bundle),
            (id, _, Some(bundle)) if id == self.shared.api.trust_domain_id.as_str() => {
                Meaning::Roots(bundle)
            }
            (id, _, _) => self
                .identity(id)
                .map_or(Meaning::Nothing, |held| Meaning::Identity(Some(held))),
        }
    }

    /// The best entitlement to an ID. Two of them differ in selectors and lifetime, not in who
    /// the caller becomes, so one whose credential is held is better than one without.
    fn identity(&self, id: &str) -> Option<&'a Held> {
        let admitted = self.admitted();
        let asked = self.asked.replace(self.asked.get() + 1);
        if admitted.len() > FEW && asked >= FEW {
            return self.by_id().get(id).copied();
        }
        let of_id = |held: &&&'a Held| held.entitlement.spiffe_id.as_str() == id;
        let mut held = admitted.iter().filter(of_id);
        let first = held.clone().next().copied();
        held.find(|held| self.svid(held).is_some())
            .copied()
            .or(first)
    }

    fn by_id(&self) -> &HashMap<&'a str, &'a Held> {
        self.by_id.get_or_init(|| {
            let mut best: HashMap<&str, &Held> = HashMap::new();
            for held in self.admitted().iter().copied() {
                let place = best
                    .entry(held.entitlement.spiffe_id.as_str())
                    .or_insert(held);
                if self.svid(place).is_none() && self.svid(held).is_some() {
                    *place = held;
                }
            }
            best
        })
    }

    /// An expired credential is none: the consumer keeps what it has.
    fn svid(&self, held: &'a Held) -> Option<&'a Svid> {
        let svid = held.svid.as_deref()?;
        (!svid.lifetime.is_expired(self.now)).then_some(svid)
    }

    fn secret(&self, name: &str) -> Option<Resource> {
        let secrets = &self.shared.secrets;
        let resource = match self.meaning(name) {
            Meaning::Identity(held) => {
                let svid = self.svid(held?)?;
                let body = || tls_certificate(name, &svid.chain, &svid.key);
                secrets.resource(self.snapshot, name, svid.serial.to_string(), body)
            }
            Meaning::Roots(bundle) => {
                let body = || trusted_ca(name, bundle.roots());
                secrets.resource(self.snapshot, name, bundle.version().to_owned(), body)
            }
            Meaning::Validator(bundle) => {
                let body = || spiffe_validator(name, &[(bundle.trust_domain(), bundle.roots())]);
                secrets.resource(self.snapshot, name, bundle.version().to_owned(), body)
            }
            Meaning::Nothing => return None,
        };
        Some(resource)
    }

    /// A certificate that this stream was given is taken away with the right to it. A bundle is
    /// not: without one an Envoy would admit anybody.
    pub(super) fn was_removed(&self, name: &str) -> bool {
        let given = self.given.get(name).is_some_and(|given| !given.is_bundle());
        given && matches!(self.meaning(name), Meaning::Nothing)
    }
}

impl View for CallerView<'_> {
    fn stamp(&self) -> Stamp {
        self.snapshot.stamp.unwrap_or_default()
    }

    fn standing(&self, type_url: &str, name: &str) -> Standing {
        if type_url != SECRET_TYPE {
            return Standing::Absent;
        }
        match self.secret(name) {
            Some(resource) => Standing::Present(resource),
            None if self.was_removed(name) => Standing::Removed,
            None => Standing::Absent,
        }
    }

    fn names(&self, type_url: &str) -> Vec<Arc<str>> {
        if type_url != SECRET_TYPE {
            return Vec::new();
        }
        let names: BTreeSet<&str> = self.known().collect();
        let known = |name: &&str| self.version(name).is_some() || self.was_removed(name);
        names.into_iter().filter(known).map(Into::into).collect()
    }

    /// What is no name of ours, and no ID of our trust domain, can never be given here.
    fn is_possible(&self, type_url: &str, name: &str) -> bool {
        let is_ours = || {
            let path = name.strip_prefix(self.shared.api.trust_domain_id.as_str());
            path.is_some_and(|path| path.is_empty() || path.starts_with('/'))
                && SpiffeId::new(name).is_ok()
        };
        type_url == SECRET_TYPE && ([DEFAULT, ROOT_CA, ALL].contains(&name) || is_ours())
    }

    fn serves(&self, type_url: &str) -> bool {
        type_url == SECRET_TYPE
    }
}
