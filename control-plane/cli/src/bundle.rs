//! `countersign bundle …`: what everybody verifies against.

use clap::{Subcommand, ValueEnum};
use countersign_cli::{Exit, Failure};
use countersign_model::TrustDomain;
use countersign_proto::admin::{ShowBundleRequest, ShowBundleResponse};
use countersign_verify::TrustBundle;
use rustls_pki_types::CertificateDer;
use serde::Serialize;

use crate::client::{Client, failure, request};
use crate::jwk;
use crate::output::Output;

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Print the trust bundle
    #[command(after_help = "Examples:\n  \
        countersign bundle show > bundle.pem\n  \
        countersign bundle show --format spiffe")]
    Show {
        /// PEM blocks, or the JWK set of the SPIFFE standard
        #[arg(long, value_enum, default_value_t = Format::Pem)]
        format: Format,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Format {
    /// PEM blocks
    Pem,
    /// SPIFFE_Trust_Domain_and_Bundle.md
    Spiffe,
}

#[derive(Debug, Serialize)]
struct Shown {
    trust_domain: String,
    sequence: u64,
    version: String,
    pem: String,
}

impl Verb {
    pub(crate) async fn run(self, client: &Client, output: Output) -> Result<Exit, Failure> {
        let Self::Show { format } = self;
        let mut admin = client.connect().await?;
        let shown = admin.show_bundle(request(ShowBundleRequest {})).await;
        let shown = shown.map_err(failure)?.into_inner();
        match format {
            Format::Spiffe => output.json(&jwk::bundle(&shown.roots, shown.sequence)?)?,
            Format::Pem => {
                let shown = Shown {
                    pem: pem(&shown)?,
                    trust_domain: shown.trust_domain,
                    sequence: shown.sequence,
                    version: shown.version,
                };
                output.show(&shown, |shown| shown.pem.trim_end().to_owned())?;
            }
        }
        Ok(Exit::Yes)
    }
}

fn pem(shown: &ShowBundleResponse) -> Result<String, Failure> {
    let damaged = |error: String| {
        Failure::new(
            Exit::Bug,
            "damaged_bundle",
            format!("the control plane sent a bundle that does not read: {error}"),
            "report it",
        )
    };
    let trust_domain = TrustDomain::new(&shown.trust_domain).map_err(|e| damaged(e.to_string()))?;
    let roots = shown.roots.iter().cloned().map(CertificateDer::from);
    let bundle = TrustBundle::new(trust_domain, roots.collect());
    Ok(bundle.map_err(|e| damaged(e.to_string()))?.to_pem())
}
