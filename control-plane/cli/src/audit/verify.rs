//! `countersign audit verify`: recomputes everything that the checkpoints of a log sign.

use std::path::PathBuf;

use clap::Args;
use countersign_audit::{Audit, Report, Verdict};
use countersign_cli::{Exit, Failure};

use super::DEFAULT_LOG;
use super::failure::failure;
use crate::output::Output;

pub(super) const EXAMPLES: &str = "Examples:\n  \
    countersign audit verify --log /var/lib/countersign/control-plane/log --key log.vkey\n  \
    countersign audit verify --log a/log --log b/log --json\n  \
    countersign audit verify --key log.vkey --checkpoint kept-last-week\n  \
    countersign audit verify --key log.vkey --key before.vkey --checkpoint kept-before-the-restore\n\n\
    Exit 0: sound. Exit 1: a file, byte or entry is wrong, or a key was certified for two IDs.";

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The folder of a log; several are also compared with each other [default: ./cp/log]
    #[arg(long, value_name = "DIR")]
    log: Vec<PathBuf>,
    /// The verifier key of the log as it is now, as text or file. Further ones are of the logs that
    /// it goes on from after a restore: they count for kept checkpoints only. The first is that of
    /// every --log [default: the key.vkey of each log]
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
        let logs = match self.log {
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

fn text(verdict: &Verdict) -> String {
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
    if !report.authentic {
        text.push_str("\n  the key lies beside the log: this shows integrity, not who wrote it");
    }
    text
}
