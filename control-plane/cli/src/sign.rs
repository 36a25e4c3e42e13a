//! `countersign sign`: a certification request in, a PEM chain out.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use countersign_cli::{Exit, Failure};
use countersign_issue::request::{MAX_REQUEST_BYTES, RequestError};
use countersign_model::SpiffeId;
use countersign_proto::admin::{SignRequest, SignResponse};
use rustls_pki_types::CertificateDer;
use serde::Serialize;

use crate::client::{Client, failure, request, time};
use crate::destination::{self, DASH, Destination};
use crate::distance::to_the_second;
use crate::output::Output;

pub(crate) const EXAMPLES: &str = "Examples:\n  \
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=ignored \\\n      \
    -keyout plc.key -out plc.csr\n  \
    countersign sign --id spiffe://example.org/plc --csr plc.csr --out plc.pem\n  \
    countersign sign --id spiffe://example.org/plc --csr - --out - < plc.csr > plc.pem\n\n\
    The same key gets the same certificate again while that is young, and a new one from 0.8 times\n\
    svid.renew_at of its lifetime on. A fresh key gets a new one at once.";

/// What mends a chain that was not written.
const AGAIN: &str =
    "sign the same request again with an --out that can be written: the answer is the same";

#[derive(Debug, Args)]
pub(crate) struct Sign {
    /// The SPIFFE ID, registered with --by-hand
    #[arg(long)]
    id: SpiffeId,
    /// The request, PEM or DER; - reads stdin. Only its key counts
    #[arg(long, value_name = "FILE")]
    csr: PathBuf,
    /// Where the PEM chain goes; - writes to stdout
    #[arg(long, value_name = "FILE")]
    out: Destination,
}

#[derive(Debug, Serialize)]
struct Signed {
    id: SpiffeId,
    serial: String,
    issued_at: Option<jiff::Timestamp>,
    not_after: Option<jiff::Timestamp>,
    /// None for stdout.
    path: Option<PathBuf>,
    /// The chain, leaf first.
    pem: String,
}

impl Sign {
    pub(crate) async fn run(self, client: &Client, output: Output) -> Result<Exit, Failure> {
        let csr = read(&self.csr)?;
        let out = destination::file(Some(&self.out));
        out.map_or(Ok(()), destination::require_replaceable)?;
        let mut admin = client.connect().await?;
        let asked = request(SignRequest {
            id: self.id.to_string(),
            csr,
        });
        let answer = admin.sign(asked).await.map_err(failure)?.into_inner();
        let signed = self.signed(answer);
        if let Some(path) = &signed.path {
            destination::write(path, &signed.pem, "chain_not_written", AGAIN)?;
        }
        output.show(&signed, |signed| match &signed.path {
            Some(path) => {
                let until = signed.not_after.map(to_the_second);
                format!("{} until {}", path.display(), until.unwrap_or_default())
            }
            None => signed.pem.trim_end().to_owned(),
        })?;
        Ok(Exit::Yes)
    }

    fn signed(self, answer: SignResponse) -> Signed {
        let chain = answer.chain.into_iter().map(CertificateDer::from);
        Signed {
            id: self.id,
            serial: answer.serial,
            issued_at: time(answer.issued_at),
            not_after: time(answer.not_after),
            path: destination::file(Some(&self.out)).map(Path::to_owned),
            pem: chain
                .map(|der| countersign_verify::bundle::pem_block(&der))
                .collect(),
        }
    }
}

/// The request, and not a byte more than one can have.
fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let most = MAX_REQUEST_BYTES as u64 + 1;
    let read = if path == Path::new(DASH) {
        io::stdin().lock().take(most).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes))
    };
    read.map_err(|error| {
        Failure::new(
            Exit::Usage,
            "csr_unreadable",
            format!("cannot read {}: {error}", path.display()),
            "name a file with a certification request, or - for stdin",
        )
    })?;
    if bytes.len() > MAX_REQUEST_BYTES {
        let error = RequestError::TooLarge;
        return Err(Failure::new(
            Exit::Usage,
            error.code(),
            error.to_string(),
            error.remedy(),
        ));
    }
    Ok(bytes)
}
