//! The only place that touches a CA key, and only for a logged entry.

use rustls_pki_types::CertificateDer;
use tracing::info_span;

use super::der;
use super::keys::{CaKey, KeyError};
use super::log::Logged;
use crate::store::IssuanceRow;

/// A certificate that was checked, logged and signed, in this order.
#[derive(Debug)]
pub(crate) struct Signed {
    /// The log entry.
    pub(crate) row: IssuanceRow,
    /// The certificate.
    pub(crate) certificate: CertificateDer<'static>,
}

/// Signs what the log holds, with the key that the entry names.
pub(crate) fn sign(logged: Logged, key: &dyn CaKey) -> Result<Signed, KeyError> {
    let span = info_span!("sign", serial = %logged.row().serial, issuer = key.key_id());
    let _entered = span.enter();
    if logged.row().issuer != key.key_id() {
        return Err(KeyError::Damaged(key.key_id().to_owned()));
    }
    let row = logged.into_row();
    let signature = key.sign(&row.tbs)?;
    Ok(Signed {
        certificate: der::certificate(&row.tbs, &signature).into(),
        row,
    })
}
