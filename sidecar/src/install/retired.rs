//! Which roots the control plane took out of its bundle, and what of the operator's bundle file is
//! newer than what is held.

use countersign_verify::TrustBundle;
use rustls_pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};

use crate::state::StoredBundle;

/// Retired roots that are remembered: more than a mesh has in decades of rotations. The oldest is
/// forgotten first.
pub(super) const MAX_RETIRED_ROOTS: usize = 64;

/// Why the operator's bundle file cannot stand in for the bundle that is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UselessBundle {
    /// It names none that is not held.
    #[error("it holds no other root: replace it by the current bundle of the control plane")]
    NothingNew,
    /// The control plane has replaced them all.
    #[error(
        "the control plane itself has taken its roots out of the bundle: replace it by the current \
         one. After a restore of older state, remove bundle.json from state_dir: then the file is \
         believed"
    )]
    Retired,
    /// Which roots were replaced before is not known.
    #[error(
        "the stored bundle is of an older version, which did not note the roots that were taken \
         out, and this file may name one: if it is the current bundle of the control plane, remove \
         bundle.json from state_dir: then the file is believed"
    )]
    Unknown,
}

/// What is retired once `new` replaces what is held; `None` where it is not known what was retired
/// before.
pub(super) fn after(held: Option<&StoredBundle>, new: &TrustBundle) -> Option<Vec<[u8; 32]>> {
    let Some(held) = held else {
        return Some(Vec::new());
    };
    let current: Vec<_> = new.roots().iter().map(digest).collect();
    let gone = held.bundle.roots().iter().map(digest);
    let known = held.retired.as_ref()?.iter().copied();
    let mut retired: Vec<_> = known.chain(gone).collect();
    retired.retain(|root| !current.contains(root));
    retired.drain(..retired.len().saturating_sub(MAX_RETIRED_ROOTS));
    Some(retired)
}

pub(super) fn fallback_roots(
    configured: &TrustBundle,
    held: Option<&StoredBundle>,
) -> Result<TrustBundle, UselessBundle> {
    let (mut roots, current) = match held {
        Some(held) => {
            let retired = held.retired.as_ref().ok_or(UselessBundle::Unknown)?;
            let stands = |root: &&CertificateDer<'_>| !retired.contains(&digest(root));
            let roots = configured.roots().iter().filter(stands).cloned();
            (roots.collect::<Vec<_>>(), held.bundle.roots())
        }
        None => (configured.roots().to_vec(), &[][..]),
    };
    if roots.is_empty() {
        return Err(UselessBundle::Retired);
    }
    // The roots that are held recognised nobody.
    roots.retain(|root| !current.contains(root));
    let bundle = TrustBundle::new(configured.trust_domain().clone(), roots);
    bundle.map_err(|_| UselessBundle::NothingNew)
}

fn digest(root: &CertificateDer<'_>) -> [u8; 32] {
    Sha256::digest(root).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::{Authority, trust_domain};

    fn bundle(of: &[&Authority]) -> TrustBundle {
        let roots = of.iter().map(|authority| authority.root()).collect();
        TrustBundle::new(trust_domain(), roots).unwrap()
    }

    /// What is held after the control plane sent these, one after the other.
    fn held(sent: &[&[&Authority]]) -> StoredBundle {
        let mut held = None;
        for bundle in sent.iter().map(|of| bundle(of)) {
            held = Some(StoredBundle {
                retired: after(held.as_ref(), &bundle),
                bundle: bundle.into(),
                resource_version: None,
            });
        }
        held.unwrap()
    }

    #[test]
    fn root_that_was_taken_out_stays_out() {
        let [old, new, other] = ["old", "new", "other"].map(Authority::new);
        let held = held(&[&[&old], &[&old, &new], &[&new]]);
        let fallback = |of: &[&Authority]| fallback_roots(&bundle(of), Some(&held));
        assert_eq!(fallback(&[&old]).unwrap_err(), UselessBundle::Retired);
        assert_eq!(
            fallback(&[&old, &new]).unwrap_err(),
            UselessBundle::NothingNew
        );
        let with_other = fallback(&[&old, &other, &new]).unwrap();
        assert_eq!(with_other.roots(), [other.root()]);
        assert!(
            fallback_roots(&bundle(&[&old]), None).is_ok(),
            "the first contact"
        );
    }

    #[test]
    fn root_that_comes_back_is_no_longer_retired() {
        let [old, new] = ["old", "new"].map(Authority::new);
        let held = held(&[&[&old], &[&new], &[&old, &new]]);
        assert_eq!(held.retired, Some(Vec::new()));
    }

    #[test]
    fn unknown_history_lets_no_file_stand_in() {
        let [old, new] = ["old", "new"].map(Authority::new);
        let mut held = held(&[&[&old]]);
        held.retired = None;
        let refused = fallback_roots(&bundle(&[&new]), Some(&held)).unwrap_err();
        assert_eq!(refused, UselessBundle::Unknown);
        assert_eq!(after(Some(&held), &bundle(&[&new])), None);
    }

    #[test]
    fn remembered_roots_are_bounded() {
        let [old, new] = ["old", "new"].map(Authority::new);
        let mut held = held(&[&[&old]]);
        let mut known = vec![[1; 32]; MAX_RETIRED_ROOTS];
        known[0] = [0; 32];
        held.retired = Some(known);
        let retired = after(Some(&held), &bundle(&[&new])).unwrap();
        assert_eq!(retired.len(), MAX_RETIRED_ROOTS);
        assert!(!retired.contains(&[0; 32]) && retired.contains(&digest(&old.root())));
    }
}
