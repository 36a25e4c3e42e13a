//! `countersign replica …`: the control planes that share a database.

mod invite;
pub(crate) mod level;
mod list;
pub(crate) mod row;
mod seal;

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
    Any of them can be asked: the list is in the database. There is no leader: each act is made by the\n\
    control plane that is asked. ROLE says which of them has the key above issuing CAs and certifies those\n\
    of all, and which removes what only time ends.";
const SEAL_EXAMPLES: &str = "Examples:\n  \
    countersign replica seal --name b\n  \
    countersign replica seal --name b --force        # it runs, cut off, and nobody can stop it\n  \
    countersign replica seal --name b --json | jq -r .root_hash\n\n\
    For a control plane that died with its disk, or that nobody waits for any more. From then on the\n\
    database takes nothing of it, also where it comes back: there is no way back, and its name is used up.\n\
    What it issued stays valid. The one that is asked makes the tiles of its log from the database and\n\
    announces the seal in its own log. One that only is down needs no seal: start it again.";
const REMOVE_EXAMPLES: &str = "Examples:\n  \
    countersign replica remove --name c              # an invitation that nobody wants any more\n  \
    systemctl stop countersign-control-plane         # on the machine of b; 15 s later, on another one:\n  \
    countersign replica remove --name b\n\n\
    An invitation is withdrawn, and its name is free again. A control plane that has joined is sealed, as\n\
    by `replica seal`: that is the same, whether it died or leaves in good order.";

const RAISE_EXAMPLES: &str = "Examples:\n  \
    countersign replica list                         # its last line: all speak 3\n  \
    countersign replica raise\n\n\
    The last step of an upgrade, once every control plane runs the new version: from then on they may write\n\
    what only that one and later ones can read. There is no way back to the version before. It is refused while a\n\
    control plane speaks less that was not sealed, also one that is down. One with its state in files raises\n\
    its own.";

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Write the file with which a control plane joins those that share the database, once
    #[command(after_help = INVITE_EXAMPLES)]
    Invite(invite::Invite),
    /// Every control plane that shares the database: who is invited, joined or sealed
    #[command(after_help = LIST_EXAMPLES)]
    List(list::List),
    /// End a control plane that is gone for good: nothing of it is taken any more, its log is kept
    #[command(after_help = SEAL_EXAMPLES)]
    Seal(seal::Gone),
    /// Withdraw an invitation, or end a control plane that was stopped
    #[command(after_help = REMOVE_EXAMPLES)]
    Remove(seal::Gone),
    /// Raise the level to what all speak: the last step of an upgrade, without a way back
    #[command(after_help = RAISE_EXAMPLES)]
    Raise(level::Raise),
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
            Self::Seal(gone) => gone.seal(client, output).await,
            Self::Remove(gone) => gone.remove(client, output).await,
            Self::Raise(raise) => raise.run(client, output).await,
        }
    }
}

#[cfg(test)]
mod tests;
