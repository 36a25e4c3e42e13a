//! `countersign apply`: the registrations of a file, all of them or none.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use countersign_cli::{Exit, Failure};
use countersign_proto::admin::applied::Outcome as Wire;
use countersign_proto::admin::{ApplyRequest, ApplyResponse, Refused};
use serde::Serialize;

use crate::client::{Client, failure, request};
use crate::destination::DASH;
use crate::document::{self, Entry, MAX_BYTES, Mistake};
use crate::output::Output;
use crate::registration::{Outcome, Shown, Written, tell_rivals};

pub(crate) const EXAMPLES: &str = "Examples:\n  \
    countersign export > registrations.yaml\n  \
    countersign apply -f registrations.yaml --dry-run    # says what would change\n  \
    countersign apply -f registrations.yaml\n  \
    countersign export --json | jq '.registrations |= map(.owner = \"team-web\")' \\\n      \
    | countersign apply -f -\n\n\
    All registrations of the file are written, or none. Each is written whole: what it leaves out is\n\
    gone. What is registered and not in the file stays as it is.\n\n\
    Exit 0: done, or nothing to do. Exit 2: the file does not read. Exit 3: one is refused, nothing\n\
    was changed.";

#[derive(Debug, Args)]
pub(crate) struct Apply {
    /// Registrations, YAML or JSON; - reads stdin
    #[arg(long, short, value_name = "FILE")]
    file: PathBuf,
    /// Say what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// What became of a file.
#[derive(Debug, Serialize)]
struct Applied {
    dry_run: bool,
    committed: bool,
    created: usize,
    updated: usize,
    unchanged: usize,
    refused: usize,
    items: Vec<Item>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Item {
    Written(Written),
    Refused(NotWritten),
}

#[derive(Debug, Serialize)]
struct NotWritten {
    #[serde(flatten)]
    registration: Shown,
    outcome: &'static str,
    error: Why,
}

#[derive(Debug, Serialize)]
struct Why {
    code: String,
    message: String,
    remedy: String,
}

impl Apply {
    pub(crate) async fn run(self, client: &Client, output: Output) -> Result<Exit, Failure> {
        let text = read(&self.file)?;
        let entries = document::read(&text).map_err(|mistakes| self.unread(mistakes))?;
        let mut admin = client.connect().await?;
        let asked = request(ApplyRequest {
            registrations: entries.iter().map(|it| it.registration.clone()).collect(),
            dry_run: self.dry_run,
        });
        let answer = admin.apply(asked).await.map_err(failure)?.into_inner();
        let refused = self.refused(&entries, &answer);
        let applied = Applied::new(self.dry_run, entries, answer);
        if refused.is_none() || self.dry_run {
            output.show(&applied, Applied::text)?;
            let written = applied.items.iter().filter_map(|it| match it {
                Item::Written(written) => Some(written.registration()),
                Item::Refused(_) => None,
            });
            tell_rivals(written, client, output).await?;
        }
        refused.map_or(Ok(Exit::Yes), Err)
    }

    fn unread(&self, mistakes: Vec<Mistake>) -> Failure {
        let problems = mistakes.into_iter().map(|it| {
            let Mistake {
                place,
                problem,
                remedy,
            } = it;
            (place.to_string(), problem, remedy)
        });
        let code = "registrations_unreadable";
        self.failure(
            Exit::Usage,
            code,
            "mend the file; nothing was changed",
            problems.collect(),
        )
    }

    /// Everything that the control plane refuses of it, in one report.
    fn refused(&self, entries: &[Entry], answer: &ApplyResponse) -> Option<Failure> {
        let outcomes = answer.items.iter().map(|it| it.outcome.as_ref());
        let judged = entries.iter().zip(outcomes);
        let problems = judged.filter_map(|(entry, outcome)| match outcome {
            Some(Wire::Refused(Refused {
                code,
                message,
                remedy,
            })) => Some((
                entry.place.to_string(),
                format!("{message} ({code})"),
                remedy.clone(),
            )),
            _ => None,
        });
        let problems: Vec<_> = problems.collect();
        let remedy = "mend the file or the policy; nothing was changed";
        (!problems.is_empty()).then(|| self.failure(Exit::Denied, "not_applied", remedy, problems))
    }

    fn failure(
        &self,
        exit: Exit,
        code: &str,
        remedy: &str,
        problems: Vec<(String, String, String)>,
    ) -> Failure {
        let noun = if problems.len() == 1 {
            "mistake"
        } else {
            "mistakes"
        };
        let mut message = format!("{} {noun} in {}", problems.len(), self.file.display());
        for (place, problem, remedy) in &problems {
            message.push_str(&format!("\n{place}: {problem}; {remedy}"));
        }
        let mistakes =
            problems
                .into_iter()
                .map(|(key, problem, remedy)| countersign_cli::Mistake {
                    key,
                    problem,
                    remedy,
                });
        Failure {
            mistakes: mistakes.collect(),
            ..Failure::new(exit, code, message, remedy)
        }
    }
}

impl Applied {
    fn new(dry_run: bool, entries: Vec<Entry>, answer: ApplyResponse) -> Self {
        let judged = entries.into_iter().zip(answer.items);
        let items: Vec<_> = judged
            .filter_map(|(entry, it)| Some(Item::new(entry, it.outcome?)))
            .collect();
        let count = |outcome| {
            let written = items
                .iter()
                .filter(|it| matches!(it, Item::Written(written) if written.outcome == outcome));
            written.count()
        };
        let [created, updated, unchanged] =
            [Outcome::Created, Outcome::Updated, Outcome::Unchanged].map(count);
        Self {
            dry_run,
            committed: answer.committed,
            created,
            updated,
            unchanged,
            refused: items.len() - created - updated - unchanged,
            items,
        }
    }

    /// A line for each that changes, and how many there are of each kind.
    fn text(&self) -> String {
        let lines = self.items.iter().filter_map(|it| it.line(self.dry_run));
        let mut lines: Vec<_> = lines.collect();
        let Self {
            created,
            updated,
            unchanged,
            refused,
            ..
        } = self;
        let (created, updated) = match self.dry_run {
            true => (
                format!("{created} would be registered"),
                format!("{updated} updated"),
            ),
            false => (
                format!("{created} registered"),
                format!("{updated} updated"),
            ),
        };
        let mut summary = format!("{created}, {updated}, {unchanged} unchanged");
        if *refused > 0 {
            summary.push_str(&format!(", {refused} refused"));
        }
        lines.push(summary);
        lines.join("\n")
    }
}

impl Item {
    fn new(entry: Entry, outcome: Wire) -> Self {
        match outcome {
            Wire::Written(written) => Self::Written(Written::from(written)),
            Wire::Refused(refused) => Self::Refused(NotWritten {
                registration: Shown::from(entry.registration),
                outcome: "refused",
                error: Why {
                    code: refused.code,
                    message: refused.message,
                    remedy: refused.remedy,
                },
            }),
        }
    }

    /// None for what stays as it is: of a thousand registrations it would hide the one that changes.
    fn line(&self, is_dry_run: bool) -> Option<String> {
        match self {
            Self::Written(it) if it.outcome == Outcome::Unchanged => None,
            Self::Written(it) => Some(it.text(is_dry_run)),
            Self::Refused(it) => {
                let (place, message) = (it.registration.place(), &it.error.message);
                Some(match message.contains(&place) {
                    true => format!("refused: {message}"),
                    false => format!("refused {place}: {message}"),
                })
            }
        }
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    let refused = |code: &str, problem: String, remedy: &str| {
        let message = format!("cannot read {}: {problem}", path.display());
        Failure::new(Exit::Usage, code, message, remedy)
    };
    let most = MAX_BYTES as u64 + 1;
    let mut bytes = Vec::new();
    let read = match path == Path::new(DASH) {
        true => io::stdin().lock().take(most).read_to_end(&mut bytes),
        false => File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes)),
    };
    read.map_err(|error| {
        let remedy = "name a file with registrations, or - for stdin";
        refused("file_unreadable", error.to_string(), remedy)
    })?;
    if bytes.len() > MAX_BYTES {
        let problem = format!("it is longer than {MAX_BYTES} bytes");
        return Err(refused("file_too_large", problem, "split it"));
    }
    String::from_utf8(bytes).map_err(|_| {
        refused(
            "file_unreadable",
            "it is no UTF-8".to_owned(),
            "write it in UTF-8",
        )
    })
}
