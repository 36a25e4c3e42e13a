//! `countersign replica invite`: the file with which a control plane joins.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use countersign_cli::{Exit, Failure};
use countersign_proto::admin::InviteReplicaRequest;
use countersign_serve::secret_file;
use jiff::Timestamp;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::called::Called;
use crate::client::{Client, failure, request, time};
use crate::destination::{self, Destination};
use crate::distance::to_the_second;
use crate::output::{Output, shell_word};

#[derive(Debug, Args)]
pub(crate) struct Invite {
    /// The name of the new control plane, its replica.name: 1 to 63 of a-z, 0-9 and -
    #[arg(long)]
    name: String,
    /// How long the invitation can be used
    #[arg(long, default_value = "1h", value_parser = countersign_cli::duration::argument)]
    ttl: Duration,
    /// A file for the invitation, which its owner alone may open; without it, or with -, stdout
    #[arg(long, value_name = "FILE")]
    out: Option<Destination>,
    /// Replace what is in the file: an invitation that is in it is lost
    #[arg(long)]
    replace: bool,
}

/// An invitation that was made.
#[derive(Serialize)]
pub(super) struct Invited {
    pub(super) name: String,
    /// None where it is in a file.
    pub(super) invitation: Option<String>,
    /// None for stdout.
    pub(super) path: Option<PathBuf>,
    pub(super) until: Option<Timestamp>,
}

impl Invite {
    pub(super) async fn run(self, client: &Client, output: Output) -> Result<Exit, Failure> {
        let out = destination::file(self.out.as_ref());
        if let Some(path) = out {
            require_room(path, self.replace)?;
        }
        let mut admin = client.connect().await?;
        let asked = request(InviteReplicaRequest {
            name: self.name.clone(),
            ttl: prost_types::Duration::try_from(self.ttl).ok(),
        });
        let made = admin.invite_replica(asked).await.map_err(failure)?;
        let made = made.into_inner();
        let invitation = Zeroizing::new(made.invitation);
        if let Some(path) = out {
            secret_file::write(path, &invitation).map_err(|error| unwritten(path, &error))?;
        }
        let invited = Invited {
            name: self.name,
            invitation: out.is_none().then(|| invitation.to_string()),
            path: out.map(Path::to_owned),
            until: time(made.until),
        };
        output.show(&invited, |it| it.text(client.called()))?;
        Ok(Exit::Yes)
    }
}

impl Invited {
    /// The invitation alone where it goes to stdout; otherwise what to do with its file.
    pub(super) fn text(&self, called: &Called) -> String {
        if let Some(invitation) = &self.invitation {
            return invitation.trim_end().to_owned();
        }
        let path = self.path.as_deref().unwrap_or(Path::new(""));
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        let (name, file) = (&self.name, shell_word(&file));
        let until = self.until.map(to_the_second).unwrap_or_default();
        let list = called.command("replica list");
        format!(
            "{}: {name} can join with it once, until {until}\n\
             \n\
             on the new machine\n  \
             1. configure it in {name}.toml: replica.name = \"{name}\", and trust_domain, store.url and the \
             password as here\n  \
             2. bring the file there, mode 0600, and start it:\n     \
             countersign-control-plane run --config {name}.toml --join {file}\n  \
             3. once it is joined in `{list}`, remove the file: it is started without --join from then on",
            path.display()
        )
    }
}

/// Judged before there is an invitation, which would be lost.
fn require_room(path: &Path, replace: bool) -> Result<(), Failure> {
    secret_file::require_writable(path).map_err(|error| unwritten(path, &error))?;
    if !replace && destination::is_filled(path) {
        return Err(Failure::new(
            Exit::Usage,
            "invitation_file_exists",
            format!("{} is there, and is not empty", path.display()),
            "write the invitation to another file with --out, or replace what is in this one with --replace",
        ));
    }
    Ok(())
}

fn unwritten(path: &Path, error: &io::Error) -> Failure {
    Failure::new(
        Exit::Usage,
        "invitation_not_written",
        format!("cannot write {}: {error}", path.display()),
        "name a file in a directory that you can write; an invitation that was made and not written is of \
         no use to anybody, and another of the same name takes its place",
    )
}
