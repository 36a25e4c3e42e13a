//! `countersign token …`: how a node attests the first time.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Subcommand;
use countersign_cli::{Exit, Failure};
use countersign_model::SpiffeId;
use countersign_proto::admin::CreateTokenRequest;
use countersign_serve::secret_file;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::client::{Client, failure, request, time};
use crate::destination::{self, Destination};
use crate::distance::to_the_second;
use crate::output::Output;

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Make a token that one node may attest with, once
    #[command(after_help = "Examples:\n  \
        countersign token create --node spiffe://example.org/node/a --out token\n  \
        countersign token create --node spiffe://example.org/node/a --out token --replace\n  \
        countersign token create --node spiffe://example.org/node/a --ttl 1h --json")]
    Create {
        /// The node's SPIFFE ID
        #[arg(long)]
        node: SpiffeId,
        /// How long the token can be used
        #[arg(long, default_value = "10m", value_parser = countersign_cli::duration::argument)]
        ttl: Duration,
        /// A file for the token, which its owner alone may open; without it, or with -, stdout
        #[arg(long, value_name = "FILE")]
        out: Option<Destination>,
        /// Replace what is in the file: a token that is in it is lost
        #[arg(long)]
        replace: bool,
    },
}

#[derive(Serialize)]
struct Created {
    /// None where it is in a file.
    token: Option<String>,
    /// None for stdout.
    path: Option<PathBuf>,
    node: SpiffeId,
    expires_at: Option<jiff::Timestamp>,
}

impl Verb {
    pub(crate) async fn run(self, client: &Client, output: Output) -> Result<Exit, Failure> {
        let Self::Create {
            node,
            ttl,
            out,
            replace,
        } = self;
        let out = destination::file(out.as_ref());
        if let Some(path) = out {
            // Before there is a token, which would be lost.
            secret_file::require_writable(path).map_err(|error| unwritten(path, &error))?;
            if !replace {
                require_empty(path)?;
            }
        }
        let mut admin = client.connect().await?;
        let asked = request(CreateTokenRequest {
            node: node.to_string(),
            ttl: prost_types::Duration::try_from(ttl).ok(),
        });
        let made = admin
            .create_token(asked)
            .await
            .map_err(failure)?
            .into_inner();
        if let Some(path) = out {
            let line = Zeroizing::new(format!("{}\n", made.token));
            secret_file::write(path, &line).map_err(|error| unwritten(path, &error))?;
        }
        let created = Created {
            token: out.is_none().then_some(made.token),
            path: out.map(Path::to_owned),
            node,
            expires_at: time(made.expires_at),
        };
        output.show(&created, Created::text)?;
        Ok(Exit::Yes)
    }
}

impl Created {
    fn text(&self) -> String {
        if let Some(token) = &self.token {
            return token.clone();
        }
        let path = self.path.as_deref().unwrap_or(Path::new(""));
        let until = self.expires_at.map(to_the_second);
        format!("{} until {}", path.display(), until.unwrap_or_default())
    }
}

/// Whose token is in a file cannot be seen, nor whether it was used.
fn require_empty(path: &Path) -> Result<(), Failure> {
    if destination::is_filled(path) {
        return Err(Failure::new(
            Exit::Usage,
            "token_file_exists",
            format!("{} is there, and is not empty", path.display()),
            "write the token to another file with --out, or replace what is in this one with --replace",
        ));
    }
    Ok(())
}

fn unwritten(path: &Path, error: &io::Error) -> Failure {
    Failure::new(
        Exit::Usage,
        "token_not_written",
        format!("cannot write {}: {error}", path.display()),
        "name a file in a directory that you can write; a token that was made and not written is \
         of no use to anybody and expires by itself",
    )
}
