//! `countersign ca csr` and `ca import`: an intermediate under a root that is offline or another's.

use std::path::{Path, PathBuf};

use clap::Args;
use countersign_cli::Failure;
use countersign_proto::admin::admin_client::AdminClient;
use countersign_proto::admin::{ImportCaRequest, RequestCaRequest};
use countersign_verify::pem::CERTIFICATE;
use jiff::Timestamp;
use serde::Serialize;
use tonic::transport::Channel;

use super::laggards::{Awaited, Laggards};
use super::status::ShownAuthority;
use crate::client::{failure, request};
use crate::destination::{self, Destination};
use crate::output::Output;
use crate::verify::blocks;

pub(super) const CSR_EXAMPLES: &str = "Examples:\n  \
    countersign ca csr --out intermediate.csr\n  \
    countersign ca csr > intermediate.csr\n\n\
    The key stays in its key store. Asked again before an import, the same key is asked for.\n\
    Sign it with path length 1, keyCertSign and cRLSign, and its subject unchanged.";

pub(super) const IMPORT_EXAMPLES: &str = "Examples:\n  \
    countersign ca import --chain intermediate.pem --root root.pem\n\n\
    Under the root that is in use the intermediate signs at once. Another root is added to the\n\
    bundle, and used once every live consumer has it: see `countersign ca status`.";

#[derive(Debug, Args)]
pub(crate) struct Csr {
    /// Where to write it; - writes to stdout [default: -]
    #[arg(long, value_name = "FILE")]
    out: Option<Destination>,
}

#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The signed intermediate: PEM; its root may follow
    #[arg(long, value_name = "FILE")]
    chain: PathBuf,
    /// The root that signed it: PEM
    #[arg(long, value_name = "FILE")]
    root: PathBuf,
}

#[derive(Debug, Serialize)]
struct Requested {
    key_id: String,
    pem: String,
}

#[derive(Debug, Serialize)]
struct Imported {
    intermediate: Option<ShownAuthority>,
    #[serde(flatten)]
    laggards: Laggards,
}

impl Csr {
    pub(super) async fn run(
        self,
        admin: &mut AdminClient<Channel>,
        output: Output,
    ) -> Result<(), Failure> {
        let out = destination::file(self.out.as_ref());
        out.map_or(Ok(()), destination::require_replaceable)?;
        let answer = admin.request_ca(request(RequestCaRequest {})).await;
        let answer = answer.map_err(failure)?.into_inner();
        let requested = Requested {
            key_id: answer.key_id,
            pem: answer.pem,
        };
        match out {
            None => output.show(&requested, |it| it.pem.trim_end().to_owned()),
            Some(file) => {
                let remedy = "check the path and its permissions";
                destination::write(file, &requested.pem, "file_unwritable", remedy)?;
                output.show(&requested, |it| {
                    format!("{}: for the key {}", file.display(), it.key_id)
                })
            }
        }
    }
}

impl Import {
    pub(super) async fn run(
        self,
        admin: &mut AdminClient<Channel>,
        output: Output,
        now: Timestamp,
    ) -> Result<(), Failure> {
        let message = ImportCaRequest {
            chain: certificates(&self.chain)?,
            roots: certificates(&self.root)?,
        };
        let answer = admin.import_ca(request(message)).await;
        let answer = answer.map_err(failure)?.into_inner();
        let imported = Imported {
            intermediate: answer.intermediate.map(ShownAuthority::from),
            laggards: Laggards::of(answer.laggards, answer.waiting_for_more),
        };
        output.show(&imported, |imported| text(imported, now))
    }
}

fn text(imported: &Imported, now: Timestamp) -> String {
    let intermediate = imported.intermediate.as_ref();
    let line = intermediate.map_or_else(String::new, ShownAuthority::line);
    match imported.laggards.text(Awaited::Acknowledgements, now) {
        None => line,
        Some(waiting) => format!("{line}, {waiting}"),
    }
}

fn certificates(file: &Path) -> Result<Vec<Vec<u8>>, Failure> {
    blocks(file, CERTIFICATE)
}
