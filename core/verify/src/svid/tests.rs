//! The hostile set: every chain here differs from an accepted one by a single defect.

mod chains;
mod issuers;
mod leaves;
mod revocation;
mod smoke;

use rustls_pki_types::CertificateDer;

use super::*;
use crate::pki::{World, now};

/// Judged in the shared world at [`now`], without CRLs.
fn judge(chain: &[CertificateDer<'_>]) -> Result<VerifiedSvid, Refusal> {
    verify_svid(chain, &World::shared().bundles(), &[], now())
}

/// The refusal of a leaf with this one defect; without it the same leaf is accepted.
fn refusal_of_leaf(defect: impl FnOnce(&mut rcgen::CertificateParams)) -> Refusal {
    let world = World::shared();
    judge(&world.chain(|_| {})).expect("the chain without the defect is accepted");
    judge(&world.chain(defect)).expect_err("the chain with the defect is refused")
}
