//! What the next process of this sidecar has to know of consumers: who validates with which bundle, until
//! when.
//!
//! An Envoy outlives its sidecar. Until it comes back it goes on with the bundle that the process before had
//! given it, and a root has to wait for it, at whichever control plane this node is then. So the record is in
//! a file of the state directory, as soon as it changes. It is not synced: where the machine loses its power
//! its consumers end as well.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use countersign_serve::{blocking, bounded_file};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use super::{Consumer, ConsumerKind, Consumers, lock};
use crate::state::MAX_STATE_FILE_BYTES;

/// The file of the state directory.
pub(crate) const CONSUMERS_FILE: &str = "consumers.json";
/// Most consumers that are kept by name; where there are more, those that came equally far are one.
const MAX_KEPT: usize = 256;
/// How long after one write the next is made, at least.
const WRITE_EVERY: Duration = Duration::from_millis(250);
/// The same after one that the disk did not take.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    id: String,
    kind: ConsumerKind,
    resource: Option<String>,
    bundle_version: Option<String>,
    delivered_at: Option<Timestamp>,
    credential_not_after: Timestamp,
}

impl Kept {
    /// Whoever validates with a bundle, and has a credential that may still be good.
    fn of(id: String, consumer: Consumer) -> Option<Self> {
        Some(Self {
            id,
            kind: consumer.kind,
            resource: Some(consumer.resource?),
            bundle_version: consumer.bundle_version,
            delivered_at: consumer.delivered_at,
            credential_not_after: consumer.credential_not_after?,
        })
    }

    fn into_consumer(self) -> (String, Consumer) {
        let consumer = Consumer {
            kind: self.kind,
            resource: self.resource,
            bundle_version: self.bundle_version,
            delivered_at: self.delivered_at,
            connected: false,
            credential_not_after: Some(self.credential_not_after),
            serials: Vec::new(),
        };
        (self.id, consumer)
    }
}

/// Everybody who is kept.
fn kept(mut all: BTreeMap<String, Consumer>) -> Vec<Kept> {
    all.retain(|_, it| it.resource.is_some() && it.credential_not_after.is_some());
    if all.len() > MAX_KEPT {
        all.values_mut().for_each(|it| it.connected = false);
        super::fold(&mut all);
    }
    let kept = all.into_iter().filter_map(|(id, it)| Kept::of(id, it));
    kept.collect()
}

/// Takes over what the process before had noted, where that is still of use at `now`. A file that cannot be
/// read is done without: after a power cut nobody of it lives.
pub(crate) fn restore(file: &Path, consumers: &Consumers, now: Timestamp) {
    let read = match read(file) {
        Ok(read) => read,
        Err(error) => {
            tracing::warn!(%error, "consumers of the process before not known");
            return;
        }
    };
    let good = read
        .into_iter()
        .filter(|it| it.credential_not_after >= now && it.resource.is_some());
    let good = good.take(MAX_KEPT).map(Kept::into_consumer);
    lock(&consumers.consumers).extend(good);
}

/// Keeps what is in the record, as long as this process runs.
pub(crate) async fn keep(file: PathBuf, consumers: Arc<Consumers>) {
    let mut changed = consumers.subscribe();
    let (mut written, mut failed) = (None, false);
    loop {
        changed.borrow_and_update();
        let now = kept(consumers.all());
        if written.as_ref() != Some(&now) {
            match blocking(|| write(&file, &now)) {
                Ok(()) => (written, failed) = (Some(now), false),
                Err(error) => {
                    if !std::mem::replace(&mut failed, true) {
                        tracing::warn!(%error, "consumers not kept for a restart");
                    }
                    sleep(TRY_AGAIN).await;
                    continue;
                }
            }
        }
        sleep(WRITE_EVERY).await;
        if changed.changed().await.is_err() {
            return;
        }
    }
}

fn read(file: &Path) -> io::Result<Vec<Kept>> {
    match bounded_file::read_own(file, MAX_STATE_FILE_BYTES)? {
        Some(text) => Ok(serde_json::from_slice(&text)?),
        None => Ok(Vec::new()),
    }
}

fn write(file: &Path, kept: &[Kept]) -> io::Result<()> {
    let text = serde_json::to_vec(kept)?;
    let draft = file.with_extension("json.new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(&draft)?.write_all(&text)?;
    fs::rename(&draft, file)
}

#[cfg(test)]
mod tests {
    use countersign_serve::places::Holder;

    use super::*;
    use crate::consumers::Owner;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn note(consumers: &Arc<Consumers>, id: &str, version: &str, end: i64) {
        let owner = Owner {
            holder: Holder::Uid(1),
            process: id.into(),
        };
        let resource = Some("spiffe://example.org");
        let stream = consumers.connect(&owner, id, ConsumerKind::Envoy, resource);
        stream.unwrap().note(|consumer| {
            consumer.bundle_version = Some(version.to_owned());
            consumer.credential_not_after = Some(at(end));
        });
    }

    /// What a process that starts at `now` knows.
    fn next(file: &Path, now: i64) -> BTreeMap<String, Consumer> {
        let consumers = Consumers::default();
        restore(file, &consumers, at(now));
        consumers.all()
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_process_knows_of_consumers() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(CONSUMERS_FILE);
        assert!(next(&file, 0).is_empty());
        let consumers = Arc::new(Consumers::default());
        let keeping = tokio::spawn(keep(file.clone(), consumers.clone()));
        note(&consumers, "a", "old", 60);
        note(&consumers, "b", "old", 30);
        sleep(2 * WRITE_EVERY).await;
        note(&consumers, "c", "new", 60);
        sleep(2 * WRITE_EVERY).await;
        keeping.abort();
        let known = next(&file, 40);
        let versions = known.iter().map(|(id, it)| {
            assert!(!it.connected);
            (id.as_str(), it.bundle_version.as_deref())
        });
        let versions: Vec<_> = versions.collect();
        assert_eq!(versions, [("a", Some("old")), ("c", Some("new"))]);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let consumers = Arc::new(Consumers::default());
        for n in 0..=MAX_KEPT {
            note(&consumers, &n.to_string(), "old", 60);
        }
        note(&consumers, "behind", "older", 50);
        let kept = kept(consumers.all());
        let versions: Vec<_> = { kept.iter() }
            .map(|it| it.bundle_version.as_deref())
            .collect();
        assert_eq!(versions, [Some("old"), Some("older")]);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(CONSUMERS_FILE);
        write(&file, &kept).unwrap();
        assert_eq!(next(&file, 50).len(), 2);
    }

    #[test]
    fn a_file_that_is_torn_is_done_without() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(CONSUMERS_FILE);
        fs::write(&file, "[{\"id\":").unwrap();
        assert!(next(&file, 0).is_empty());
        let large = usize::try_from(MAX_STATE_FILE_BYTES).unwrap() + 1;
        fs::write(&file, vec![b' '; large]).unwrap();
        assert!(next(&file, 0).is_empty());
    }
}
