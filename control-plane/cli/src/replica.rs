//! `countersign replica …`: the control planes that share a database.

mod invite;
mod list;

use clap::Subcommand;
use countersign_cli::{Exit, Failure};
use jiff::Timestamp;

use crate::client::Client;
use crate::output::Output;

const INVITE_EXAMPLES: &str = "Examples:\n  \
    countersign replica invite --name b --out b.invitation\n  \
    countersign replica invite --name b --out b.invitation --ttl 10m --replace    # the one before is void\n  \
    countersign replica invite --name b --json | jq -r .invitation\n\n\
    On the new machine, whose b.toml has replica.name = \"b\" and the store.url of this control plane:\n  \
    countersign-control-plane run --config b.toml --join b.invitation\n\n\
    Whoever has the invitation and the password of the database becomes a control plane of the trust\n\
    domain: once, in time, under this name.";
const LIST_EXAMPLES: &str = "Examples:\n  \
    countersign replica list\n  \
    countersign replica list --json | jq -r '.items[] | select(.state == \"invited\") | .name'\n\n\
    Any of them can be asked: the list is in the database.";

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Write the file with which a control plane joins those that share the database, once
    #[command(after_help = INVITE_EXAMPLES)]
    Invite(invite::Invite),
    /// Every control plane that shares the database: who is invited, joined or sealed
    #[command(after_help = LIST_EXAMPLES)]
    List(list::List),
}

impl Verb {
    pub(crate) async fn run(
        self,
        client: &Client,
        output: Output,
        now: Timestamp,
    ) -> Result<Exit, Failure> {
        match self {
            Self::Invite(invite) => invite.run(client, output).await,
            Self::List(list) => list.run(client, output, now).await,
        }
    }
}

#[cfg(test)]
mod tests;
