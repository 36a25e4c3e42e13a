//! Mistakes in production code, planted in a copy of the sources: what judges a run has to find each.
//!
//! One build has all of them, and a variable says which is made. The sources themselves know nothing of it.
//! A test makes sure that each still has its place; `make mutants` builds the copy and looks for them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, ensure};

/// The variable that names the mistake which is made.
pub(crate) const MUTANT: &str = "SIMULATION_MUTANT";
/// Seeds within which a mistake is found.
const SEEDS: u64 = 300;
/// Seeds that show that the copy is sound where no mistake is made.
const SOUND: u64 = 5;
/// Where a mistake tells whether it is made.
const GUARD: &str = "@";

/// One mistake: what of a file is replaced, and by what.
struct Mutant {
    name: &'static str,
    file: &'static str,
    right: &'static str,
    wrong: &'static str,
}

const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "a_removal_is_not_told",
        file: "control-plane/daemon/src/api/mesh/resource_kinds/entitlement.rs",
        right: "if viewer.authority.was_removed(viewer.node, id) {",
        wrong: "if !@ && viewer.authority.was_removed(viewer.node, id) {",
    },
    Mutant {
        name: "a_tombstone_is_not_stored",
        file: "control-plane/authority/src/removal.rs",
        right: "let changes = buried.chain(gone).collect();",
        wrong: "let changes = buried.filter(|_| !@).chain(gone).collect();",
    },
    Mutant {
        name: "a_removed_right_is_kept",
        file: "sidecar/src/install/entitlements.rs",
        right: "for id in removed {\n                entries.remove(id);",
        wrong: "for id in removed.iter().filter(|_| !@) {\n                entries.remove(id);",
    },
    Mutant {
        name: "a_root_waits_for_nobody",
        file: "control-plane/fleet/src/consumers.rs",
        right: "if waiting.is_empty() {",
        wrong: "if @ || waiting.is_empty() {",
    },
    Mutant {
        name: "nothing_is_renewed",
        file: "sidecar/src/identity/schedule.rs",
        right: "let renewal = self.entitlement.renewal(&held.serial, &held.lifetime);",
        wrong: "if @ {\n return None;\n }\n\
                let renewal = self.entitlement.renewal(&held.serial, &held.lifetime);",
    },
    Mutant {
        name: "the_journal_is_not_synced",
        file: "control-plane/tlog/src/journal/writer.rs",
        right: "self.store.sync().map_err(|_| LogError::Stopped)?;",
        wrong: "if !@ {\n self.store.sync().map_err(|_| LogError::Stopped)?;\n }",
    },
    Mutant {
        name: "a_commit_is_not_synced",
        file: "control-plane/store/src/sqlite.rs",
        right: ".synchronous(SqliteSynchronous::Full)",
        wrong: ".synchronous(if @ { SqliteSynchronous::Off } else { SqliteSynchronous::Full })",
    },
    Mutant {
        name: "a_lost_signature_makes_a_stranger",
        file: "control-plane/authority/src/restoring.rs",
        right: "state.certified(&node, &entitlement, issuance);\n        Ok(())",
        wrong: "if !@ {\n state.certified(&node, &entitlement, issuance);\n }\n Ok(())",
    },
    // Of several control planes on one database.
    Mutant {
        name: "a_fence_is_forgotten",
        file: "control-plane/store/src/memory/session.rs",
        right: "if row != Some(&self.row) {",
        wrong: "if !@ && row != Some(&self.row) {",
    },
    Mutant {
        name: "an_undecided_commit_is_acknowledged",
        file: "control-plane/store/src/writer.rs",
        right: "Fate::Open(places) => {",
        wrong: "Fate::Open(places) if @ => return Ok(places),\n Fate::Open(places) => {",
    },
    Mutant {
        name: "a_gate_counts_its_own_consumers_alone",
        file: "control-plane/fleet/src/consumers.rs",
        right: "Some(told) => told.consumers(record),",
        wrong: "_ if @ && !connected => Vec::new(),\n Some(told) => told.consumers(record),",
    },
    Mutant {
        name: "an_entry_is_in_the_database_later",
        file: "control-plane/authority/src/archive.rs",
        right: "let kept = self.wait(async move {\n            let then",
        wrong: "if @ {\n self.runtime.spawn(async move { store.commit_then(commit, |_| ()).await });\n \
                return Ok(sequence.load(Ordering::Acquire));\n }\n \
                let kept = self.wait(async move {\n            let then",
    },
    Mutant {
        name: "a_follower_skips_commits",
        file: "control-plane/store/src/handing.rs",
        right: "if seq <= self.seq {",
        wrong: "if seq <= self.seq || @ && seq.0 % 16 == 0 {",
    },
    Mutant {
        name: "a_lost_notice_is_waited_for",
        file: "control-plane/store/src/following.rs",
        right: "true => ASK_EVERY,",
        wrong: "true if @ => Duration::from_secs(3_600),\n true => ASK_EVERY,",
    },
    Mutant {
        name: "an_act_is_judged_by_an_older_state",
        file: "control-plane/authority/src/record.rs",
        right: "let precondition = match self.state.read().acts {",
        wrong: "let precondition = match self.state.read().acts {\n \
                _ if @ => Precondition::Absent(Kind::Meta, \"nothing\".to_owned()),",
    },
    Mutant {
        name: "what_changes_nothing_is_not_confirmed",
        file: "control-plane/authority/src/registrations.rs",
        right: "} else if !self.settings.replica().is_empty() {",
        wrong: "} else if !@ && !self.settings.replica().is_empty() {",
    },
    Mutant {
        name: "who_only_read_writes_to_an_older_database",
        file: "control-plane/store/src/fencing.rs",
        right: "match is_same && known.seq <= present.newest {",
        wrong: "match @ || is_same && known.seq <= present.newest {",
    },
    Mutant {
        name: "one_that_is_out_keeps_its_sidecars",
        file: "control-plane/daemon/src/api/mesh/stream.rs",
        right: "() = self.plane.out.cancelled() => {",
        wrong: "() = self.plane.out.cancelled(), if !@ => {",
    },
    Mutant {
        name: "a_serial_names_no_log",
        file: "control-plane/ca/src/log.rs",
        right: "Serial::new(self.id, index, random).map_err(|_| NotLogged::Full)",
        wrong: "let id = if @ { 0x01_0000 } else { self.id };\n \
                Serial::new(id, index, random).map_err(|_| NotLogged::Full)",
    },
    // Of what a sidecar gives to its consumers, and tells of them.
    Mutant {
        name: "a_consumer_counts_before_it_acknowledges",
        file: "sidecar/src/sds/stream.rs",
        right: "let acknowledged = self.dialect.acknowledged(&finding.name);",
        wrong: "let current = finding.version.clone();\n \
                let acknowledged = match @ {\n true => current.as_deref(),\n \
                false => self.dialect.acknowledged(&finding.name),\n };",
    },
    Mutant {
        name: "an_absent_identity_is_taken_for_removed",
        file: "sidecar/src/sds/view.rs",
        right: "None if self.was_removed(name) => Standing::Removed,",
        wrong: "None if @ || self.was_removed(name) => Standing::Removed,",
    },
    Mutant {
        name: "a_failure_replaces_a_good_credential",
        file: "sidecar/src/workload_api/updates.rs",
        right: "let Some(handout) = Handout::new(&snapshot, caller, now) else {\n        return match",
        wrong: "let Some(handout) = Handout::new(&snapshot, caller, now) else {\n        \
                return match @ || ",
    },
    Mutant {
        name: "an_unknown_name_ends_the_stream",
        file: "sidecar/src/sds/stream.rs",
        right: "_ => drop(self.fresh.insert(name)),",
        wrong: "_ if @ && name.contains(\"/web-\")\n \
                && self.caller.admitted(&snapshot).iter()\n \
                .all(|it| it.entitlement.spiffe_id.as_str() != name) =>\n \
                return Err(Status::not_found(\"unknown\")),\n \
                _ => drop(self.fresh.insert(name)),",
    },
    Mutant {
        name: "the_next_process_knows_no_consumer",
        file: "sidecar/src/consumers/kept.rs",
        right: "let good = good.take(MAX_KEPT).map(Kept::into_consumer);",
        wrong: "let good = good.filter(|_| !@).take(MAX_KEPT).map(Kept::into_consumer);",
    },
    // Of disks that take nothing.
    Mutant {
        name: "a_full_disk_is_not_noticed",
        file: "control-plane/tlog/src/journal/writer.rs",
        right: "if let Err(error) = self.store.write(&self.buffer, self.length) {",
        wrong: "if let Err(error) = self.store.write(&self.buffer, self.length)\n && !@\n {",
    },
];

impl Mutant {
    /// The text of its file with the mistake, and with those that are there already.
    fn planted(&self, text: &str) -> Result<String> {
        let places = text.matches(self.right).count();
        ensure!(
            places == 1,
            "{} has {places} places in {}",
            self.name,
            self.file
        );
        let name = self.name;
        let guard = format!("std::env::var(\"{MUTANT}\").is_ok_and(|it| it == \"{name}\")");
        Ok(text.replace(self.right, &self.wrong.replace(GUARD, &guard)))
    }
}

/// Each mistake has one place in the sources.
///
/// # Errors
/// One of them has none, or several.
pub fn have_their_places() -> Result<()> {
    MUTANTS.iter().try_for_each(|mutant| {
        let text = fs::read_to_string(project().join(mutant.file))?;
        mutant.planted(&text).map(drop)
    })
}

/// Builds a copy of the sources with every mistake, and looks for each.
///
/// # Errors
/// The copy cannot be built.
pub fn look_for_all(cargo: &str) -> Result<ExitCode> {
    let copy = project().join("target/mutants/sources");
    copy_sources(&copy)?;
    let target = target_of_this_program()?;
    let mut missed = 0;
    let mutants = MUTANTS.iter().map(|mutant| (mutant.name, SEEDS));
    for (name, seeds) in std::iter::once(("", SOUND)).chain(mutants) {
        let mut command = Command::new(cargo);
        command
            .current_dir(&copy)
            .env("CARGO_TARGET_DIR", &target)
            .env(MUTANT, name)
            .args([
                "test",
                "--locked",
                "--quiet",
                "--profile",
                "simulation",
                "--package",
                "countersign-simulation",
            ])
            .args([
                "--test",
                "simulation",
                "--",
                "--until-violated",
                &seeds.to_string(),
            ]);
        let output = command.output().context(cargo.to_owned())?;
        let said = String::from_utf8_lossy(&output.stdout);
        let found = said.lines().find(|line| line.contains("VIOLATED"));
        match (name, found) {
            ("", None) if output.status.success() => {}
            ("", _) => anyhow::bail!("{}", String::from_utf8_lossy(&output.stderr)),
            (name, Some(line)) => println!("{name}: {line}"),
            (name, None) => {
                missed += 1;
                println!("{name}: NOT FOUND");
            }
        }
    }
    Ok(match missed {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

fn copy_sources(copy: &Path) -> Result<()> {
    let listed = Command::new("git")
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .current_dir(project())
        .output()
        .context("git")?;
    let said = String::from_utf8_lossy(&listed.stderr);
    ensure!(listed.status.success(), "git ls-files: {said}");
    for name in String::from_utf8(listed.stdout)?.split_terminator('\0') {
        let from = project().join(name);
        // A link to a folder, or one that is removed and not yet committed.
        let Ok(mut bytes) = fs::read(&from) else {
            continue;
        };
        for mutant in MUTANTS.iter().filter(|mutant| mutant.file == name) {
            bytes = mutant.planted(&String::from_utf8(bytes)?)?.into_bytes();
        }
        let to = copy.join(name);
        fs::create_dir_all(to.parent().context("a file is in a folder")?)?;
        // What is as it was is not built again.
        if fs::read(&to).ok().as_ref() != Some(&bytes) {
            fs::write(&to, bytes)?;
        }
    }
    Ok(())
}

/// Where this program was built: the crates of others are not built again for the copy.
fn target_of_this_program() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    let target = program.ancestors().nth(3);
    Ok(target
        .context("a program in a target directory")?
        .to_owned())
}

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
