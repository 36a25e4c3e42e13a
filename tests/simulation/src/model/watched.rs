//! What one node was seen to hold, against what it is seen to hold next.

use std::collections::BTreeMap;

use countersign_discovery::Stamp;
use countersign_model::{EntitlementId, Serial};
use countersign_sidecar::simulated::{Credential, Right};
use countersign_verify::TrustBundle;
use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use super::{Violation, holds};

/// A certificate that was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The identity that it was held for.
    pub(crate) id: String,
    /// SHA-256 of the leaf.
    leaf: [u8; 32],
    /// Its log.
    pub(crate) log: u32,
    /// Its place there.
    pub(crate) index: u64,
}

impl Seen {
    pub(super) fn of(right: &Right, credential: &Credential) -> Self {
        Self::of_chain(
            right.spiffe_id.as_str(),
            &credential.chain,
            &credential.serial,
        )
    }

    pub(super) fn of_chain(id: &str, chain: &[CertificateDer<'_>], serial: &Serial) -> Self {
        let leaf = chain.first().map_or(&[][..], |leaf| leaf);
        Self {
            id: id.to_owned(),
            leaf: Sha256::digest(leaf).into(),
            log: serial.log_id(),
            index: serial.index(),
        }
    }
}

/// One node, as it was when it was looked at last.
#[derive(Debug, Default)]
pub(super) struct Watched {
    /// Since when it is not disturbed.
    pub(super) calm: Option<Instant>,
    /// As of which change everything was judged.
    judged: Option<(u32, (u64, u64))>,
    starts: u32,
    stamp: Option<Stamp>,
    bundle: Option<String>,
    held: BTreeMap<EntitlementId, (String, Credential)>,
}

impl Watched {
    /// Whether anything is to be judged: something changed, or time alone may have brought something.
    pub(super) fn is_due(&mut self, changes: (u32, (u64, u64)), is_anyhow: bool) -> bool {
        self.judged.replace(changes) != Some(changes) || is_anyhow
    }

    /// The serial of its own certificate, as it was seen last.
    pub(super) fn own_serial(&self, node: &str) -> Option<Serial> {
        let mut held = self.held.values();
        let own = held.find(|(id, _)| id == node)?;
        Some(own.1.serial)
    }

    /// Keys of workloads end with the process.
    pub(super) fn restarted(&mut self, starts: u32) {
        if self.starts != starts {
            *self = Self {
                calm: self.calm,
                judged: self.judged,
                starts,
                ..Self::default()
            };
        }
    }

    pub(super) fn judge_stamp(
        &mut self,
        node: &str,
        stamp: Option<Stamp>,
    ) -> Result<(), Violation> {
        let place = |stamp: Option<Stamp>| stamp.map(|it| (it.epoch, it.sequence));
        let (before, after) = (place(self.stamp), place(stamp));
        let told = || format!("{node} was at {before:?} and is at {after:?}");
        holds(
            before <= after,
            "an_older_state_never_replaces_a_newer_one",
            told,
        )?;
        self.stamp = stamp;
        Ok(())
    }

    /// Whether it is another one.
    pub(super) fn judge_bundle(
        &mut self,
        node: &str,
        bundle: Option<&TrustBundle>,
    ) -> Result<bool, Violation> {
        let version = bundle.map(|bundle| bundle.version().to_owned());
        let is_lost = self.bundle.is_some() && version.is_none();
        let told = || format!("{node} has no bundle any more");
        holds(!is_lost, "absence_is_not_removal", told)?;
        let is_changed = self.bundle != version;
        self.bundle = version;
        Ok(is_changed)
    }

    /// Whether one of them is new.
    pub(super) fn judge_credentials(
        &mut self,
        node: &str,
        rights: &[Right],
        is_expected: impl Fn(&str) -> bool,
        now: Timestamp,
    ) -> Result<bool, Violation> {
        let mut next = BTreeMap::new();
        for right in rights {
            if let Some(credential) = &right.credential {
                let held = (right.spiffe_id.to_string(), credential.clone());
                next.insert(right.entitlement.clone(), held);
            }
        }
        for (entitlement, (id, before)) in &self.held {
            let after = next.get(entitlement).map(|(_, credential)| credential);
            let is_good = before.lifetime.not_after > now;
            if after.is_none() && is_good && is_expected(id) {
                let what = format!("{node} lost {id}, good until {}", before.lifetime.not_after);
                holds(
                    false,
                    "a_good_credential_is_never_replaced_by_a_failure",
                    || what,
                )?;
            }
            // By the place in the log: clocks may go back.
            let is_older = |it: &Credential| {
                let (one, other) = (it.serial, before.serial);
                one.log_id() == other.log_id() && one.index() < other.index()
            };
            let told = || format!("{node} has {id} as of an earlier time: {}", before.serial);
            let is_replaced = after.is_some_and(is_older);
            holds(
                !is_replaced,
                "an_older_state_never_replaces_a_newer_one",
                told,
            )?;
        }
        let serials = |held: &BTreeMap<EntitlementId, (String, Credential)>| -> Vec<_> {
            held.values().map(|(_, it)| it.serial).collect()
        };
        let is_changed = serials(&self.held) != serials(&next);
        self.held = next;
        Ok(is_changed)
    }
}
