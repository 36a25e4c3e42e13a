use std::convert::Infallible;
use std::fs;
use std::path::{Path, PathBuf};

use countersign_logs::{LOG_ID, Restore, Scene, at, entry, issued, opened, refused, serial};
use countersign_model::Serial;
use countersign_proto::log::Voided;
use countersign_proto::log::entry::What;
use rcgen::KeyPair;

use crate::census::{Census, Keys};
use crate::flaw::Flaw;
use crate::folder::Folder;
use crate::keys::LogKeys;
use crate::report::Report;
use crate::verify::{Audit, verify};
use crate::{AuditError, Proof, Proved};

mod damage;
mod proofs;
mod replicas;
mod restores;
mod verdicts;

/// Judges the log of a scene.
trait Judged {
    fn judge(&self) -> (Option<Report>, Vec<Flaw>) {
        self.judge_with(&[], &mut Keys::default())
    }

    fn judge_with(&self, given: &[PathBuf], keys: &mut Keys) -> (Option<Report>, Vec<Flaw>);
}

impl Judged for Scene {
    fn judge_with(&self, given: &[PathBuf], keys: &mut Keys) -> (Option<Report>, Vec<Flaw>) {
        let folder = Folder::new(&self.dir());
        let key = LogKeys::open(None, &folder).unwrap();
        verify(&folder, &key, given, keys, &|_, _| ()).unwrap()
    }
}
