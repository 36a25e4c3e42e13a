//! Where control planes are, as one of them told: kept so that a restart finds one whose address nobody wrote
//! down. Nothing is trusted for it, so what cannot be read or written is done without.
//!
//! Who tells them decides what is written, and not how often: the disk and the log are asked for a change at most
//! once in [`KEPT_EVERY`], and for the same addresses in another order not at all.

use std::time::Duration;

use countersign_model::address::HttpsAddress;
use countersign_proto::convert::addresses::MAX_ADDRESSES;
use tokio::time::Instant;

use super::Installer;

/// What is told is written down and logged at most this often.
pub(crate) const KEPT_EVERY: Duration = Duration::from_secs(30);

/// The addresses that were told, here and on the disk.
#[derive(Debug, Default)]
pub(super) struct KnownAddresses {
    told: Vec<HttpsAddress>,
    /// In the order of their texts.
    kept: Vec<String>,
    tried_at: Option<Instant>,
}

impl KnownAddresses {
    fn texts(&self) -> Vec<String> {
        let mut texts: Vec<_> = self.told.iter().map(ToString::to_string).collect();
        texts.sort_unstable();
        texts
    }

    /// When the disk is to be asked, where it does not have what was told.
    fn due_at(&self, now: Instant) -> Option<Instant> {
        let is_kept = self.texts() == self.kept;
        let due_at = self.tried_at.map_or(now, |at| at + KEPT_EVERY);
        (!is_kept).then_some(due_at)
    }
}

impl Installer {
    /// What was told last.
    pub(crate) fn addresses(&self) -> &[HttpsAddress] {
        &self.addresses.told
    }

    /// Takes what is told now.
    pub(crate) fn addresses_told(&mut self, told: Vec<HttpsAddress>, now: Instant) {
        self.addresses.told = told;
        self.keep_addresses(now);
    }

    /// Writes down what was told, where it is time; when it is to be tried again.
    pub(crate) fn keep_addresses(&mut self, now: Instant) -> Option<Instant> {
        let due_at = self.addresses.due_at(now)?;
        if now < due_at {
            return Some(due_at);
        }
        self.addresses.tried_at = Some(now);
        let texts = self.addresses.texts();
        match self.state.store_addresses(&texts) {
            Ok(()) => {
                tracing::info!(count = texts.len(), "addresses of control planes kept");
                self.addresses.kept = texts;
                None
            }
            Err(error) => {
                tracing::warn!(%error, "addresses of control planes not kept");
                Some(now + KEPT_EVERY)
            }
        }
    }

    pub(super) fn restore_addresses(&mut self) {
        match self.state.load_addresses() {
            Ok(texts) => {
                let read = texts.iter().take(MAX_ADDRESSES);
                self.addresses.told = read.filter_map(|text| text.parse().ok()).collect();
                self.addresses.kept = texts;
            }
            Err(error) => tracing::warn!(%error, "addresses of control planes not known any more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::super::tests::restore;
    use super::*;

    const FILE: &str = "addresses.json";

    fn addresses(ports: &[u16]) -> Vec<HttpsAddress> {
        let text = |port| format!("https://cp-{port}:{port}").parse().unwrap();
        ports.iter().map(text).collect()
    }

    fn on_disk(folder: &TempDir) -> Option<String> {
        std::fs::read_to_string(folder.path().join(FILE)).ok()
    }

    /// Removes the file, so that the next look shows whether it was written anew.
    fn written(folder: &TempDir) -> bool {
        std::fs::remove_file(folder.path().join(FILE)).is_ok()
    }

    #[test]
    fn what_is_told_without_end_is_written_now_and_then() {
        let folder = tempfile::tempdir().unwrap();
        let (mut installer, ..) = restore(&folder);
        let begun = Instant::now();
        let (seconds, mut writes) = (600, 0);
        for tenth in 0..seconds * 10 {
            let now = begun + Duration::from_millis(100 * tenth);
            let told = addresses(&[1, u16::try_from(tenth % 10_000).unwrap() + 2]);
            installer.addresses_told(told, now);
            writes += u64::from(written(&folder));
        }
        assert_eq!(writes, seconds / KEPT_EVERY.as_secs());
    }

    #[test]
    fn newest_addresses_are_written_once_it_is_time() {
        let folder = tempfile::tempdir().unwrap();
        let (mut installer, ..) = restore(&folder);
        let begun = Instant::now();
        installer.addresses_told(addresses(&[1]), begun);
        let soon = begun + Duration::from_secs(1);
        installer.addresses_told(addresses(&[1, 2]), soon);
        assert_eq!(installer.addresses(), addresses(&[1, 2]), "in use at once");
        let first = on_disk(&folder).unwrap();
        assert!(first.contains("cp-1") && !first.contains("cp-2"), "{first}");
        assert_eq!(installer.keep_addresses(soon), Some(begun + KEPT_EVERY));
        assert_eq!(installer.keep_addresses(begun + KEPT_EVERY), None);
        assert!(on_disk(&folder).unwrap().contains("cp-2"));
        drop(installer);
        let (installer, ..) = restore(&folder);
        assert_eq!(installer.addresses(), addresses(&[1, 2]));
    }

    #[test]
    fn another_order_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let (mut installer, ..) = restore(&folder);
        let begun = Instant::now();
        installer.addresses_told(addresses(&[1, 2, 3]), begun);
        assert!(written(&folder));
        for (n, order) in [[3, 2, 1], [2, 1, 3]].iter().enumerate() {
            let now = begun + KEPT_EVERY * (u32::try_from(n).unwrap() + 1);
            installer.addresses_told(addresses(order), now);
            assert!(!written(&folder), "{order:?}");
        }
    }

    #[test]
    fn disk_that_refuses_is_asked_now_and_then() {
        let folder = tempfile::tempdir().unwrap();
        let (mut installer, ..) = restore(&folder);
        let begun = Instant::now();
        // The draft cannot be made: its name is taken by a folder that is not empty.
        let draft = folder.path().join("addresses.json.new");
        std::fs::create_dir_all(draft.join("occupied")).unwrap();
        installer.addresses_told(addresses(&[1]), begun);
        assert_eq!(on_disk(&folder), None);
        std::fs::remove_dir_all(&draft).unwrap();
        let soon = begun + Duration::from_secs(1);
        assert_eq!(installer.keep_addresses(soon), Some(begun + KEPT_EVERY));
        assert_eq!(on_disk(&folder), None);
        assert_eq!(installer.keep_addresses(begun + KEPT_EVERY), None);
        assert!(on_disk(&folder).is_some());
    }

    /// What a link leads to was not written here.
    #[test]
    fn link_in_place_of_the_file_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let theirs = folder.path().join("theirs");
        std::fs::write(&theirs, r#"["https://theirs:1"]"#).unwrap();
        std::os::unix::fs::symlink(&theirs, folder.path().join(FILE)).unwrap();
        let (installer, ..) = restore(&folder);
        assert!(installer.addresses().is_empty());
    }
}
