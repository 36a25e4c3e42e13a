//! `countersign token …`: how a node attests the first time.

use std::time::Duration;

use clap::Subcommand;
use countersign_cli::{Exit, Failure};
use countersign_model::SpiffeId;
use countersign_proto::admin::CreateTokenRequest;
use serde::Serialize;

use super::client::{Client, failure, request, time};
use super::output::Output;

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Make a token that one node may attest with, once
    #[command(after_help = "Examples:\n  \
        countersign token create --node spiffe://example.org/node/a > token\n  \
        countersign token create --node spiffe://example.org/node/a --ttl 1h --json")]
    Create {
        /// The node's SPIFFE ID
        #[arg(long)]
        node: SpiffeId,
        /// How long the token can be used
        #[arg(long, default_value = "10m", value_parser = countersign_cli::duration::parse)]
        ttl: Duration,
    },
}

#[derive(Serialize)]
struct Created {
    token: String,
    node: SpiffeId,
    expires_at: Option<jiff::Timestamp>,
}

impl Verb {
    pub(super) async fn run(self, client: &Client, output: Output) -> Result<Exit, Failure> {
        let Self::Create { node, ttl } = self;
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
        let created = Created {
            token: made.token,
            node,
            expires_at: time(made.expires_at),
        };
        output.show(&created, |created| created.token.clone())?;
        Ok(Exit::Yes)
    }
}
