//! Whoever is live accepts whatever is held.

use std::collections::BTreeMap;
use std::sync::Arc;

use countersign_verify::TrustBundle;
use countersign_verify::svid::verify_svid;
use jiff::Timestamp;
use rustls_pki_types::CertificateDer;

use super::{Model, View, Violation, holds};

/// A good credential, of whoever it is.
struct Good {
    holder: String,
    id: String,
    serial: String,
    chain: Vec<CertificateDer<'static>>,
}

impl Model {
    /// A root signs nothing before everybody has it, and leaves no bundle while something of it is good.
    pub(super) fn trusted_by_all(
        &mut self,
        views: &[View<'_>],
        now: Timestamp,
    ) -> Result<(), Violation> {
        if self.excused.is_astray() {
            return Ok(());
        }
        let nodes = views.iter().filter_map(|view| live_bundle(view, now));
        let live = nodes.chain(self.consumers_bundles(now));
        let live = live.filter(|(name, _)| !self.excused.contains(name));
        // One verdict for all who have the same bundle, and one for each certificate.
        let live: BTreeMap<String, (String, Arc<TrustBundle>)> = live
            .map(|(name, bundle)| (bundle.version().to_owned(), (name, bundle)))
            .collect();
        let good = views.iter().flat_map(|view| of_view(view, now));
        for held in good
            .chain(self.consumers_credentials(now))
            .collect::<Vec<_>>()
        {
            for (version, (judge, bundle)) in &live {
                let verdict = (version.clone(), held.serial.clone());
                if self.accepted.contains(&verdict) {
                    continue;
                }
                accepts((judge, bundle), &held, now)?;
                self.accepted.insert(verdict);
            }
        }
        Ok(())
    }

    fn consumers_credentials(&self, now: Timestamp) -> Vec<Good> {
        let held = self.consuming.iter().flat_map(|(name, consuming)| {
            let held = consuming.held().filter(move |(_, it)| it.not_after > now);
            held.map(|(id, taken)| Good {
                holder: name.clone(),
                id: id.clone(),
                serial: taken.serial.to_string(),
                chain: taken.chain.clone(),
            })
        });
        held.collect()
    }
}

fn of_view(view: &View<'_>, now: Timestamp) -> Vec<Good> {
    let rights = view.held.rights().into_iter();
    let good = rights.filter_map(|right| {
        let credential = right.credential.filter(|it| it.lifetime.not_after > now)?;
        Some(Good {
            holder: view.node.clone(),
            id: right.spiffe_id.to_string(),
            serial: credential.serial.to_string(),
            chain: credential.chain,
        })
    });
    good.collect()
}

fn accepts(
    (judge, bundle): (&str, &Arc<TrustBundle>),
    held: &Good,
    now: Timestamp,
) -> Result<(), Violation> {
    let bundles = [Arc::clone(bundle)].into_iter().collect();
    let verdict = verify_svid(&held.chain, &bundles, &[], now);
    let is_accepted = verdict
        .as_ref()
        .is_ok_and(|svid| svid.id.as_str() == held.id);
    holds(
        is_accepted,
        "a_root_signs_nothing_before_every_live_consumer_acknowledged_it",
        || {
            let (holder, id) = (&held.holder, &held.id);
            format!("{judge} refuses {id} of {holder}: {:?}", verdict.err())
        },
    )
}

/// The bundle of a node whose own credential is good.
fn live_bundle(view: &View<'_>, now: Timestamp) -> Option<(String, Arc<TrustBundle>)> {
    let rights = view.held.rights();
    let own = rights
        .iter()
        .find(|right| right.spiffe_id.as_str() == view.node)?;
    let credential = own.credential.as_ref()?;
    let is_live = credential.lifetime.not_after > now;
    is_live.then_some((view.node.clone(), view.held.bundle()?))
}
