//! The issuance logs of the trust domain, judged together from their files at the end of a run, as
//! `countersign audit verify FOLDER…` does.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use countersign_audit::{Audit, Flaw, Folder, LogKeys, entries, size};

use super::{Model, Violation, holds};

/// The place of a certificate: its log and index.
type Place = (u32, u64);
/// The serial and the identity of each certificate that is logged and not voided.
type Issued = BTreeMap<Place, (String, String)>;

/// The logs are sound and whole, and every certificate that was ever seen has its one entry in one of them,
/// which nothing voids.
pub(crate) fn judge(model: &Model, logs: &[PathBuf]) -> Result<Result<u64, Violation>> {
    let audit = Audit {
        logs: logs.to_owned(),
        keys: Vec::new(),
        checkpoints: Vec::new(),
    };
    let verdict = audit.judge(&|_, _| {})?;
    let flaws: Vec<_> = verdict.flaws.iter().map(Flaw::line).collect();
    let missing: Vec<_> = { verdict.missing.iter() }
        .map(|it| format!("log {} of {}", it.log_id, it.replica))
        .collect();
    let (mut issued, mut count) = (Issued::new(), 0);
    for (report, log) in verdict.logs.iter().zip(logs) {
        let id = report.log_id.as_deref().context("a log has an id")?;
        count += read(log, u32::from_str_radix(id, 16)?, &mut issued)?;
    }
    let judged = holds(verdict.sound, "the_log_is_sound", || {
        format!("{}; {:?}", flaws.join("; "), verdict.shared_keys)
    })
    .and_then(|()| {
        let told = || format!("nobody has {}", missing.join(", "));
        holds(missing.is_empty(), "the_logs_survive_any_replica", told)
    })
    .and_then(|()| each_has_its_entry(model, &issued));
    Ok(judged.map(|()| count))
}

/// How many entries a log has.
fn read(log: &Path, id: u32, issued: &mut Issued) -> Result<u64> {
    let folder = Folder::new(log);
    let size = size(&folder, &LogKeys::open([], &folder)?)?;
    for entry in entries(&folder, 0, size)? {
        let facts: BTreeMap<_, _> = entry.facts.into_iter().collect();
        match (entry.kind, facts.get("serial"), facts.get("index")) {
            ("issued", Some(serial), _) => {
                let identity = facts.get("id").cloned().unwrap_or_default();
                issued.insert((id, entry.index), (serial.clone(), identity));
            }
            ("voided", _, Some(index)) => {
                issued.remove(&(id, index.parse()?));
            }
            _ => {}
        }
    }
    Ok(size)
}

fn each_has_its_entry(model: &Model, issued: &Issued) -> Result<(), Violation> {
    let mut serials: BTreeMap<&String, u32> = BTreeMap::new();
    for (serial, _) in issued.values() {
        *serials.entry(serial).or_default() += 1;
    }
    for (serial, seen) in model.seen() {
        let entry = issued.get(&(seen.log, seen.index));
        let is_logged = entry == Some(&(serial.clone(), seen.id.clone()));
        let told = || format!("{serial} for {} is in use; its entry: {entry:?}", seen.id);
        let invariant = "nothing_is_signed_before_its_log_entry_is_durable";
        holds(is_logged, invariant, told)?;
        let entries = serials.get(serial).copied().unwrap_or_default();
        let told = || format!("{serial} has {entries} entries in all logs");
        holds(entries == 1, "no_serial_is_used_twice", told)?;
    }
    Ok(())
}

/// Nobody has the log of a control plane that was sealed.
pub(crate) fn is_lost(name: &str) -> Violation {
    Violation {
        invariant: "the_logs_survive_any_replica",
        what: format!("no survivor serves the log of {name}, which was sealed"),
    }
}
