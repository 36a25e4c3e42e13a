//! The operator's command line, `countersign`: one file a group of verbs.
//!
//! A verb asks the control plane over its admin socket, or judges files offline. What it found
//! goes to stdout, as a table or with `--json` as one JSON value; what went wrong goes to stderr.
//! Exit codes: 0 yes, 1 a judged no, 2 usage, 3 denied or not found, 4 unreachable, 70 a bug.

mod apply;
mod audit;
mod backup;
mod bundle;
mod ca;
mod called;
mod certs;
mod client;
mod clock;
mod destination;
mod entropy;
mod envoy;
mod export;
mod id;
mod jwk;
mod node;
mod output;
mod registration;
mod replica;
mod report;
mod restore;
mod sign;
mod socket;
mod status;
mod store;
mod token;
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use countersign_cli::{Exit, Failure, ManPages, completions, distance, man, short, table};
use countersign_operator::{document, times};
use jiff::Timestamp;

use called::Called;
use client::Client;
use output::Output;
use socket::{Asks, AsksOneOf, Named};

const EXAMPLES: &str = "Examples:\n  \
    countersign token create --node spiffe://example.org/node/a --out token    # a node joins\n  \
    countersign register --id spiffe://example.org/web --node spiffe://example.org/node/a \\\n      \
    --selector unix:uid:1000 --owner team-web\n  \
    countersign status\n\n\
    Exit codes: 0 yes or done, 1 a judged no, 2 usage, 3 denied or not found, 4 unreachable, 70 a bug.";

/// Operates a Countersign control plane.
#[derive(Debug, Parser)]
#[command(name = "countersign", version, arg_required_else_help = true, after_help = EXAMPLES)]
struct Cli {
    /// The control plane's admin socket, for verbs that ask one: see their --help
    #[arg(id = "socket_before_verb", long = "admin-socket", value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Print JSON: results on stdout, errors on stderr
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// The trust bundle
    Bundle(AsksOneOf<bundle::Verb>),
    /// One-time join tokens
    Token(AsksOneOf<token::Verb>),
    /// Nodes: who is there, who is put out, and who may come back
    Node(AsksOneOf<node::Verb>),
    /// Control planes that share a database: invite one, see who is there
    Replica(AsksOneOf<replica::Verb>),
    /// Let a node hand out an identity, or let it be signed by hand
    #[command(after_help = registration::REGISTER_EXAMPLES)]
    Register(Asks<registration::Register>),
    /// Take an identity away; says until when what was issued stays valid
    #[command(after_help = registration::UNREGISTER_EXAMPLES)]
    Unregister(Asks<registration::Unregister>),
    /// Register everything that is in a file, or nothing of it
    #[command(after_help = apply::EXAMPLES)]
    Apply(Asks<apply::Apply>),
    /// Write every registration, as `apply` reads it
    #[command(after_help = export::EXAMPLES)]
    Export(Asks<export::Export>),
    /// All registrations
    #[command(after_help = registration::LIST_EXAMPLES)]
    List(Asks<registration::List>),
    /// Sign a certification request by hand, for what cannot run a sidecar
    #[command(after_help = sign::EXAMPLES)]
    Sign(Asks<sign::Sign>),
    /// Nodes, what they hold and what they acknowledged
    #[command(after_help = status::EXAMPLES)]
    Status(Asks<status::Status>),
    /// A page of pictures: what is left of each certificate, who holds what, the last rotation
    #[command(after_help = report::EXAMPLES)]
    Report(Asks<report::Report>),
    /// Roots, intermediates and issuing CAs: status, rotation, requests, imports
    Ca(AsksOneOf<ca::Verb>),
    /// What was issued, and to whom
    Certs(AsksOneOf<certs::Verb>),
    /// The issuance log, offline: verify it, prove entries, follow it
    #[command(subcommand)]
    Audit(audit::Verb),
    /// Everything that a lost control plane is restored from, in one file
    #[command(after_help = backup::EXAMPLES)]
    Backup(Asks<backup::Backup>),
    /// Make a data_dir from a backup, offline: a new epoch
    #[command(after_help = restore::EXAMPLES)]
    Restore(restore::Restore),
    /// The database of a control plane, offline: check it, make its tables, move a state
    #[command(subcommand)]
    Store(store::Verb),
    /// Envoys that take their identity from a sidecar, offline
    #[command(subcommand)]
    Envoy(envoy::Verb),
    /// SPIFFE IDs, offline
    #[command(subcommand)]
    Id(id::Verb),
    /// Judge a certificate chain as an X.509-SVID, offline
    #[command(after_help = verify::EXAMPLES)]
    Verify(verify::Verify),
    /// Print a completion script for a shell
    #[command(
        after_help = "Example:\n  countersign completions bash > /etc/bash_completion.d/countersign"
    )]
    Completions {
        /// bash, elvish, fish, powershell or zsh
        shell: clap_complete::Shell,
    },
    /// Write the man pages of this program and its verbs
    #[command(after_help = "Example:\n  countersign man --dir /usr/local/share/man/man1")]
    Man(ManPages),
}

fn main() -> ExitCode {
    let cli: Cli = match countersign_cli::arguments() {
        Ok(cli) => cli,
        Err(exit) => return exit,
    };
    countersign_cli::guard(cli.json, || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.map_err(|error| {
            let remedy = "raise the limits on descriptors and threads";
            Failure::new(Exit::Unreachable, "no_runtime", error.to_string(), remedy)
        })?;
        runtime.block_on(cli.run(clock::now()))
    })
}

impl Cli {
    /// Runs the verb, which began now.
    async fn run(self, now: Timestamp) -> Result<Exit, Failure> {
        let named = self.verb.socket().cloned().unwrap_or_default();
        let named = named.or(self.socket);
        let called = Called::new(&named, asking());
        let client = Client::new(named, called.clone());
        let outcome = self.verb.run(&client, Output::new(self.json), now).await;
        outcome.map_err(|failure| Failure {
            remedy: called.completed(&failure.remedy),
            ..failure
        })
    }
}

impl Verb {
    async fn run(self, client: &Client, output: Output, now: Timestamp) -> Result<Exit, Failure> {
        match self {
            Self::Bundle(it) => it.verb.run(client, output).await,
            Self::Token(it) => it.verb.run(client, output).await,
            Self::Node(it) => it.verb.run(client, output, now).await,
            Self::Replica(it) => it.verb.run(client, output, now).await,
            Self::Register(it) => it.verb.run(client, output).await,
            Self::Unregister(it) => it.verb.run(client, output).await,
            Self::Apply(it) => it.verb.run(client, output).await,
            Self::Export(it) => it.verb.run(client, output).await,
            Self::List(it) => it.verb.run(client, output, now).await,
            Self::Sign(it) => it.verb.run(client, output).await,
            Self::Report(it) => it.verb.run(client, output, now).await,
            Self::Status(it) => it.verb.run(client, output, now).await,
            Self::Ca(it) => it.verb.run(client, output, now).await,
            Self::Certs(it) => it.verb.run(client, output, now).await,
            Self::Backup(it) => it.verb.run(client, output).await,
            Self::Audit(verb) => verb.run(output).await,
            Self::Restore(restore) => restore.run(now, output).await,
            Self::Store(verb) => verb.run(output).await,
            Self::Envoy(verb) => verb.run(output),
            Self::Id(verb) => verb.run(output),
            Self::Verify(verify) => verify.run(now, output),
            Self::Completions { shell } => completions::<Cli>(shell),
            Self::Man(pages) => pages.write::<Cli>(man::COMMANDS),
        }
    }

    /// The socket that was named behind the verb; `None` of a verb that asks no control plane.
    fn socket(&self) -> Option<&Named> {
        match self {
            Self::Bundle(AsksOneOf { socket, .. })
            | Self::Token(AsksOneOf { socket, .. })
            | Self::Node(AsksOneOf { socket, .. })
            | Self::Replica(AsksOneOf { socket, .. })
            | Self::Ca(AsksOneOf { socket, .. })
            | Self::Certs(AsksOneOf { socket, .. })
            | Self::Register(Asks { socket, .. })
            | Self::Unregister(Asks { socket, .. })
            | Self::Apply(Asks { socket, .. })
            | Self::Export(Asks { socket, .. })
            | Self::List(Asks { socket, .. })
            | Self::Sign(Asks { socket, .. })
            | Self::Report(Asks { socket, .. })
            | Self::Status(Asks { socket, .. })
            | Self::Backup(Asks { socket, .. }) => Some(socket),
            Self::Audit(_)
            | Self::Restore(_)
            | Self::Store(_)
            | Self::Envoy(_)
            | Self::Id(_)
            | Self::Verify(_)
            | Self::Completions { .. }
            | Self::Man(_) => None,
        }
    }
}

/// The verbs that ask a control plane.
fn asking() -> Vec<String> {
    let takes_socket =
        |verb: &&clap::Command| verb.get_arguments().any(|it| it.get_id() == "admin_socket");
    let command = Cli::command();
    let verbs = command.get_subcommands().filter(takes_socket);
    verbs.map(|verb| verb.get_name().to_owned()).collect()
}

#[cfg(test)]
mod tests;
