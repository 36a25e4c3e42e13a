//! The operator's command line, `countersign`: one file a group of verbs.
//!
//! A verb asks the control plane over its admin socket, or judges files offline. What it found
//! goes to stdout, as a table or with `--json` as one JSON value; what went wrong goes to stderr.
//! Exit codes: 0 yes, 1 a judged no, 2 usage, 3 denied or not found, 4 unreachable, 70 a bug.

mod audit;
mod backup;
mod bundle;
mod ca;
mod certs;
mod client;
mod clock;
mod entropy;
mod id;
mod jwk;
mod node;
mod output;
mod registration;
mod restore;
mod sign;
mod status;
mod token;
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use countersign_cli::{Exit, Failure, completions};
use jiff::Timestamp;

use client::Client;
use output::Output;

const SOCKET_VARIABLE: &str = "COUNTERSIGN_ADMIN_SOCKET";
const DEFAULT_SOCKET: &str = "./cp/admin.sock";

/// Operates a Countersign control plane.
#[derive(Debug, Parser)]
#[command(name = "countersign", version, arg_required_else_help = true)]
struct Cli {
    /// The control plane's admin socket [env: COUNTERSIGN_ADMIN_SOCKET] [default: ./cp/admin.sock]
    #[arg(long, global = true, value_name = "PATH")]
    admin_socket: Option<PathBuf>,
    /// Print JSON: results on stdout, errors on stderr
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// The trust bundle
    #[command(subcommand)]
    Bundle(bundle::Verb),
    /// One-time join tokens
    #[command(subcommand)]
    Token(token::Verb),
    /// Nodes: who is there, who is put out, and who may come back
    #[command(subcommand)]
    Node(node::Verb),
    /// Let a node hand out an identity, or let it be signed by hand
    #[command(after_help = registration::REGISTER_EXAMPLES)]
    Register(registration::Register),
    /// Take an identity away; says until when what was issued stays valid
    #[command(after_help = registration::UNREGISTER_EXAMPLES)]
    Unregister(registration::Unregister),
    /// All registrations
    #[command(after_help = registration::LIST_EXAMPLES)]
    List,
    /// Sign a certification request by hand, for what cannot run a sidecar
    #[command(after_help = sign::EXAMPLES)]
    Sign(sign::Sign),
    /// Nodes, what they hold and what they acknowledged
    #[command(after_help = status::EXAMPLES)]
    Status,
    /// Roots, intermediates and issuing CAs: status, rotation, requests, imports
    #[command(subcommand)]
    Ca(ca::Verb),
    /// What was issued, and to whom
    #[command(subcommand)]
    Certs(certs::Verb),
    /// The issuance log, offline: verify it, prove entries, follow it
    #[command(subcommand)]
    Audit(audit::Verb),
    /// Everything that a lost control plane is restored from, in one file
    #[command(after_help = backup::EXAMPLES)]
    Backup(backup::Backup),
    /// Make a data_dir from a backup, offline: a new epoch
    #[command(after_help = restore::EXAMPLES)]
    Restore(restore::Restore),
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
        let client = Client::new(self.admin_socket.unwrap_or_else(default_socket));
        let output = Output::new(self.json);
        match self.verb {
            Verb::Bundle(verb) => verb.run(&client, output).await,
            Verb::Token(verb) => verb.run(&client, output).await,
            Verb::Node(verb) => verb.run(&client, output).await,
            Verb::Register(register) => register.run(&client, output).await,
            Verb::Unregister(unregister) => unregister.run(&client, output).await,
            Verb::List => registration::list(&client, output).await,
            Verb::Sign(sign) => sign.run(&client, output).await,
            Verb::Status => status::run(&client, output).await,
            Verb::Ca(verb) => verb.run(&client, output).await,
            Verb::Certs(verb) => verb.run(&client, output).await,
            Verb::Audit(verb) => verb.run(output).await,
            Verb::Backup(backup) => backup.run(&client, output).await,
            Verb::Restore(restore) => restore.run(now, output).await,
            Verb::Id(verb) => verb.run(output),
            Verb::Verify(verify) => verify.run(now, output),
            Verb::Completions { shell } => completions::<Cli>(shell),
        }
    }
}

fn default_socket() -> PathBuf {
    std::env::var_os(SOCKET_VARIABLE).map_or_else(|| DEFAULT_SOCKET.into(), PathBuf::from)
}

#[cfg(test)]
mod tests;
