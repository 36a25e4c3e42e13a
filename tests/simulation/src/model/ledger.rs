//! The issuance log, judged from its files at the end of a run.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use countersign_audit::{Audit, Flaw, Folder, LogKeys, entries, size};

use super::{Model, Violation, holds};

/// The log is sound, and has an entry, which nothing voids, for every certificate that was ever seen.
pub(crate) fn judge(model: &Model, log: &Path) -> Result<Result<u64, Violation>> {
    let verdict = Audit::of(log).judge(&|_, _| {})?;
    let flaws: Vec<_> = verdict.flaws.iter().map(Flaw::line).collect();
    let sound = holds(verdict.sound, "the_log_is_sound", || flaws.join("; "));
    if let Err(violation) = sound {
        return Ok(Err(violation));
    }
    let folder = Folder::new(log);
    let size = size(&folder, &LogKeys::open([], &folder)?)?;
    let mut issued = BTreeMap::new();
    for entry in entries(&folder, 0, size)? {
        let facts: BTreeMap<_, _> = entry.facts.into_iter().collect();
        match (entry.kind, facts.get("serial"), facts.get("index")) {
            ("issued", Some(serial), _) => {
                let id = facts.get("id").cloned().unwrap_or_default();
                issued.insert(entry.index, (serial.clone(), id));
            }
            ("voided", _, Some(index)) => {
                issued.remove(&index.parse()?);
            }
            _ => {}
        }
    }
    for (serial, seen) in model.seen() {
        let entry = issued.get(&seen.index);
        let is_logged = entry == Some(&(serial.clone(), seen.id.clone()));
        let told = || format!("{serial} for {} is in use; its entry: {entry:?}", seen.id);
        let invariant = "nothing_is_signed_before_its_log_entry_is_durable";
        if let Err(violation) = holds(is_logged, invariant, told) {
            return Ok(Err(violation));
        }
    }
    Ok(Ok(size))
}
