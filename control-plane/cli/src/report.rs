//! `countersign report`: one page of pictures for those who would rather look.
//!
//! The page is made from what `status` and `ca rotation` tell, contains all that it shows, asks
//! nothing of the network and runs no script. Names that nodes reported are escaped by the template.

mod holders;
mod lives;
mod page;
mod rotation;
mod scale;

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use countersign_cli::{Exit, Failure};
use countersign_proto::admin::LastRotationRequest;
use jiff::Timestamp;
use serde::Serialize;

use crate::ca::rotation::Course;
use crate::client::{Client, failure, request};
use crate::destination::{self, Destination};
use crate::output::{Output, Printable, count, many};
use crate::status::{self, Shown};

pub(crate) const EXAMPLES: &str = "Examples:\n  \
    countersign report --html report.html\n  \
    countersign report --html /var/www/mesh.html --json | jq .status.totals\n  \
    countersign report --html - | ssh desk 'cat > mesh.html'\n  \
    countersign report --json\n\n\
    The page stands alone: it asks nothing of the network, follows the reader's light or dark, \
    and can be printed.";

#[derive(Debug, Args)]
pub(crate) struct Report {
    /// Where the page is written; a file of that name is replaced; - writes to stdout, without --json
    #[arg(long, value_name = "FILE", required_unless_present = "json")]
    html: Option<Destination>,
}

/// Everything that the page shows.
#[derive(Debug, Serialize)]
struct Facts {
    /// When it was so, by the control plane's clock.
    at: Timestamp,
    /// Where the page is; absent where none was asked for.
    html: Option<PathBuf>,
    status: Shown,
    rotation: Course,
}

impl Report {
    pub(crate) async fn run(
        self,
        client: &Client,
        output: Output,
        now: Timestamp,
    ) -> Result<Exit, Failure> {
        let html = destination::file(self.html.as_ref());
        let is_to_stdout = self.html == Some(Destination::Stdout);
        if is_to_stdout && output.is_json() {
            return Err(destination::stdout_taken("--html"));
        }
        html.map_or(Ok(()), destination::require_replaceable)?;
        let status = status::everything(client).await?;
        let mut admin = client.connect().await?;
        let answer = admin.last_rotation(request(LastRotationRequest {})).await;
        let facts = Facts {
            at: status.at.unwrap_or(now),
            html: html.map(Path::to_owned),
            status,
            rotation: answer.map_err(failure)?.into_inner().into(),
        };
        if is_to_stdout {
            output.bytes(page::of(&facts).as_bytes())?;
            return Ok(Exit::Yes);
        }
        if let Some(file) = &facts.html {
            write(file, &page::of(&facts)).map_err(|error| not_written(file, &error))?;
        }
        output.show(&facts, summary)?;
        Ok(Exit::Yes)
    }
}

fn summary(facts: &Facts) -> Printable {
    let totals = &facts.status.totals;
    let file = facts
        .html
        .as_ref()
        .map_or_else(String::new, |file| format!("{}: ", file.display()));
    Printable::from(format!(
        "{file}{} on {}, {}, {}",
        many(totals.endpoints, "identity", "identities"),
        count(totals.nodes, "node"),
        count(totals.consumers, "consumer"),
        match facts.rotation.new_root {
            Some(_) => "the newest rotation of the root",
            None => "no rotation of the root since the control plane started",
        }
    ))
}

/// Writes the page whole, or leaves what was there.
fn write(file: &Path, page: &str) -> io::Result<()> {
    let mut draft = file.as_os_str().to_owned();
    draft.push(".new");
    let draft = PathBuf::from(draft);
    // A link that somebody put there is not followed, but taken away.
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    File::create_new(&draft)?.write_all(page.as_bytes())?;
    fs::rename(&draft, file).inspect_err(|_| {
        // What is left of it is of no use; the first error is told.
        let _ = fs::remove_file(&draft);
    })
}

fn not_written(file: &Path, error: &io::Error) -> Failure {
    Failure::new(
        Exit::Usage,
        "report_not_written",
        format!("cannot write {}: {error}", file.display()),
        "name a file in a folder that can be written",
    )
}

#[cfg(test)]
mod tests;
