//! Where control planes are, as one of them told: kept so that a restart finds one whose address nobody wrote
//! down. Nothing is trusted for it, so what cannot be read or written is done without.

use countersign_proto::convert::addresses::{MAX_ADDRESSES, parse_address};
use http::Uri;

use super::Installer;

impl Installer {
    /// What was told last.
    pub(crate) fn addresses(&self) -> &[Uri] {
        &self.addresses
    }

    /// Keeps what is told now. Where the disk does not take it, the next time it is told is another try.
    pub(crate) fn keep_addresses(&mut self, told: Vec<Uri>) {
        if told == self.addresses {
            return;
        }
        let texts: Vec<_> = told.iter().map(ToString::to_string).collect();
        match self.state.store_addresses(&texts) {
            Ok(()) => self.addresses = told,
            Err(error) => tracing::warn!(%error, "addresses of control planes not kept"),
        }
    }

    pub(super) fn restore_addresses(&mut self) {
        match self.state.load_addresses() {
            Ok(texts) => {
                let texts = texts.iter().take(MAX_ADDRESSES);
                self.addresses = texts.filter_map(|text| parse_address(text).ok()).collect();
            }
            Err(error) => tracing::warn!(%error, "addresses of control planes not known any more"),
        }
    }
}
