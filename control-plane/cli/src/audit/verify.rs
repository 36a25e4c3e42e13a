//! `countersign audit verify`: recomputes everything that the checkpoints of a log sign.

use std::path::PathBuf;

use clap::Args;
use countersign_audit::{Audit, Missing, Report, Verdict};
use countersign_cli::{Exit, Failure};

use super::DEFAULT_LOG;
use super::failure::failure;
use crate::output::Output;

pub(super) const EXAMPLES: &str = "Examples:\n  \
    countersign audit verify --log /var/lib/countersign/control-plane/log --key log.vkey\n  \
    countersign audit verify a/log b/log a/sealed/0d4e5f --json\n  \
    countersign audit verify a/log b/log --key a.vkey --key b.vkey\n  \
    countersign audit verify --key log.vkey --checkpoint kept-last-week\n  \
    countersign audit verify --key log.vkey --key before.vkey --checkpoint kept-before-the-restore\n\n\
    Exit 0: sound. Exit 1: a file, byte or entry is wrong, or a key was certified for two IDs.\n\
    A log that others name and that was not given is listed as missing.";

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The folder of a log. The logs of all replicas, and those that were sealed, are judged together
    /// [default: ./cp/log]
    #[arg(value_name = "FOLDER")]
    folders: Vec<PathBuf>,
    /// The same
    #[arg(long, value_name = "DIR", conflicts_with = "folders")]
    log: Vec<PathBuf>,
    /// The verifier key of the log as it is now, as text or file; of several logs one for each, in
    /// their order. Further ones are of logs that they go on from after a restore, or of a replica
    /// whose log was sealed: they count for kept checkpoints only [default: the key.vkey of each log]
    #[arg(long, value_name = "VKEY|FILE")]
    key: Vec<String>,
    /// A checkpoint that was kept elsewhere, of this log or of one that it goes on from
    #[arg(long, value_name = "FILE")]
    checkpoint: Vec<PathBuf>,
}

impl Verify {
    pub(super) fn run(self, output: Output) -> Result<Exit, Failure> {
        let progress = |done, of| output.progress(format!("{done} of {of} entries"));
        let verdict = self.asked().judge(&progress).map_err(failure)?;
        output.show(&verdict, text)?;
        Ok(if verdict.sound { Exit::Yes } else { Exit::No })
    }

    fn asked(self) -> Audit {
        let logs = match [self.folders, self.log].concat() {
            none if none.is_empty() => vec![PathBuf::from(DEFAULT_LOG)],
            given => given,
        };
        Audit {
            logs,
            keys: self.key,
            checkpoints: self.checkpoint,
        }
    }
}

pub(super) fn text(verdict: &Verdict) -> String {
    let mut lines: Vec<String> = verdict.logs.iter().map(report_text).collect();
    lines.extend(
        verdict
            .flaws
            .iter()
            .map(|flaw| format!("wrong: {}", flaw.line())),
    );
    for shared in &verdict.shared_keys {
        let [first, second] = shared.serials;
        lines.push(format!(
            "wrong: public key {} was certified for two IDs, by {first} and for {} by {second}",
            shared.spki_sha256, shared.id
        ));
    }
    lines.extend(verdict.missing.iter().map(missing_text));
    if verdict.keys_not_compared > 0 {
        lines.push(format!(
            "{} keys were too many to compare",
            verdict.keys_not_compared
        ));
    }
    lines.push(if verdict.sound { "sound" } else { "not sound" }.to_owned());
    lines.join("\n")
}

fn report_text(report: &Report) -> String {
    let kinds: Vec<String> = report
        .kinds
        .iter()
        .map(|(kind, n)| format!("{n} {kind}"))
        .collect();
    let mut text = format!(
        "{} ({}): {} entries, {} checkpoints, {} bytes\n  root {}\n  {}",
        report.log,
        report.origin,
        report.size,
        report.checkpoints,
        report.bytes,
        report.root_hash,
        kinds.join(", ")
    );
    if report.first_retained > 0 {
        text.push_str(&format!(
            "\n  bodies from entry {} on",
            report.first_retained
        ));
    }
    for from in &report.goes_on_from {
        text.push_str(&format!(
            "\n  goes on from the first {} entries of log {}",
            from.entries, from.log_id
        ));
    }
    for joined in &report.joined {
        text.push_str(&format!(
            "\n  replica {} joined with log {}",
            joined.replica.escape_debug(),
            joined.log_id
        ));
    }
    for seal in &report.seals {
        text.push_str(&format!(
            "\n  sealed log {} of replica {} with {} entries",
            seal.log_id,
            seal.replica.escape_debug(),
            seal.size
        ));
    }
    if !report.authentic {
        text.push_str("\n  the key lies beside the log: this shows integrity, not who wrote it");
    }
    text
}

fn missing_text(missing: &Missing) -> String {
    format!(
        "missing: log {} of replica {}, which entry {} of {} names, was not given: what it holds was \
         not judged",
        missing.log_id,
        missing.replica.escape_debug(),
        missing.index,
        missing.named_in
    )
}
