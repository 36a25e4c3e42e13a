//! `countersign certs`: what was issued, by lineage, and one certificate with its history.

mod shape;

use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand, ValueEnum};
use countersign_cli::{Exit, Failure};
use countersign_issue::profile::Profile;
use countersign_model::{Criticality, SerialPrefix, SpiffeId};
use countersign_proto::admin::list_certificates_request::Validity;
use countersign_proto::admin::{ListCertificatesRequest, ShowCertificateRequest};
use countersign_proto::convert::time::duration;

use crate::called::Called;
use crate::client::{Client, failure, next, request};
use crate::distance::{relative, to_the_second};
use crate::output::{Items, Output, Printable, cell, filled};
use crate::short::Short;
use crate::table::look::Wide;
use crate::table::{Keep, Look, Table};
use jiff::Timestamp;
use shape::{Lineage, Shown, pem};

const LIST_EXAMPLES: &str = "Examples:\n  \
    countersign certs list --owner team-web\n  \
    countersign certs list --id spiffe://example.org/pay --ends-within 10m\n  \
    countersign certs list --json | jq -r '.items[] | [.id, .newest.serial] | @tsv'";
const SHOW_EXAMPLES: &str = "Examples:\n  \
    countersign certs show 0a1b2c0000000007\n  \
    countersign certs show --serial 0a1b2c00000000070011223344556677 --history 10 --json\n  \
    countersign certs show 0a1b2c00000000070011223344556677 --pem | openssl x509 -noout -text";

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// What is valid now, one line for each identity on each endpoint
    #[command(after_help = LIST_EXAMPLES)]
    List(List),
    /// One certificate by its serial, with those that it renews
    #[command(after_help = SHOW_EXAMPLES)]
    Show(Show),
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// This SPIFFE ID and those below it
    #[arg(long, visible_alias = "under")]
    id: Option<SpiffeId>,
    /// On this node
    #[arg(long)]
    node: Option<SpiffeId>,
    /// Whose owner this is
    #[arg(long, default_value = "", hide_default_value = true)]
    owner: String,
    /// low, standard or critical
    #[arg(long)]
    criticality: Option<Criticality>,
    /// What kind of certificate
    #[arg(long, value_parser = profiles())]
    profile: Option<String>,
    /// Signed by the CA of this key id, or of one that begins so
    #[arg(long, value_name = "KEY_ID", value_parser = key_id)]
    issuer: Option<String>,
    /// With this label; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = crate::registration::label)]
    labels: Vec<(String, String)>,
    /// Whose newest certificate ends within this time
    #[arg(long, value_parser = countersign_cli::duration::argument, value_name = "DURATION")]
    ends_within: Option<Duration>,
    /// Which of them
    #[arg(long, value_enum, default_value_t = State::Valid)]
    state: State,
    #[command(flatten)]
    wide: Wide,
}

/// Whether the newest certificate of a lineage is still valid.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum State {
    Valid,
    Expired,
    Any,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The serial, or as much of it as tables show
    #[arg(required_unless_present = "named")]
    serial: Option<SerialPrefix>,
    /// The same, as `audit prove` takes it
    #[arg(
        id = "named",
        long = "serial",
        value_name = "SERIAL",
        conflicts_with = "serial"
    )]
    named: Option<SerialPrefix>,
    /// How many certificates before it to tell of
    #[arg(long, default_value_t = 0, value_name = "N")]
    history: u32,
    /// Print the certificate itself, as PEM
    #[arg(long, conflicts_with = "history")]
    pem: bool,
}

/// The names of every profile.
fn profiles() -> PossibleValuesParser {
    PossibleValuesParser::new(Profile::ALL.map(|it| it.shape().name))
}

/// A key id, or how one begins.
fn key_id(text: &str) -> Result<String, String> {
    let digits = text.trim_end_matches('…');
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if digits.is_empty() || !is_hex {
        return Err("a key id is hex digits, as `ca status` shows them".to_owned());
    }
    Ok(digits.to_ascii_lowercase())
}

impl Verb {
    pub(crate) async fn run(
        self,
        client: &Client,
        output: Output,
        now: Timestamp,
    ) -> Result<Exit, Failure> {
        match self {
            Self::List(list) => list.run(client, output, now).await,
            Self::Show(show) => show.run(client, output).await,
        }
    }
}

impl List {
    async fn run(self, client: &Client, output: Output, now: Timestamp) -> Result<Exit, Failure> {
        let look = self.wide.look();
        let mut admin = client.connect().await?;
        let answer = admin.list_certificates(self.request()).await;
        let mut rows = answer.map_err(failure)?.into_inner();
        let mut items = Vec::new();
        while let Some(row) = next(&mut rows).await? {
            items.push(Lineage::from(row));
        }
        output.show(&Items { items }, |it| {
            list_text(&it.items, now, look, client.called())
        })?;
        Ok(Exit::Yes)
    }

    fn request(self) -> ListCertificatesRequest {
        let text = |id: Option<SpiffeId>| id.map_or_else(String::new, |id| id.to_string());
        let validity = match self.state {
            State::Valid => Validity::Valid,
            State::Expired => Validity::Expired,
            State::Any => Validity::Any,
        };
        let criticality = self.criticality.map_or("", Criticality::as_str);
        ListCertificatesRequest {
            id: String::new(),
            under: text(self.id),
            node: text(self.node),
            owner: self.owner,
            criticality: criticality.to_owned(),
            profile: self.profile.unwrap_or_default(),
            issuer: self.issuer.unwrap_or_default(),
            ends_within: self.ends_within.map(duration),
            validity: validity.into(),
            labels: self.labels.into_iter().collect(),
        }
    }
}

impl Show {
    async fn run(self, client: &Client, output: Output) -> Result<Exit, Failure> {
        let mut admin = client.connect().await?;
        let serial = self.serial.or(self.named);
        let serial = serial.expect("clap asks for one of them");
        let asked = request(ShowCertificateRequest {
            serial: serial.to_string(),
            history: self.history,
        });
        let answer = admin.show_certificate(asked).await.map_err(failure)?;
        let answer = answer.into_inner();
        if self.pem {
            output.bytes(pem(&answer)?.as_bytes())?;
        } else {
            output.show(&Shown::from(answer), show_text)?;
        }
        Ok(Exit::Yes)
    }
}

fn list_text(items: &[Lineage], now: Timestamp, look: Look, called: &Called) -> Printable {
    let serials = items.iter().map(|it| it.newest.serial.as_str());
    let serials = Short::of(serials, look);
    let issuers = items.iter().map(|it| it.newest.issuer.as_str());
    let issuers = Short::of(issuers, look);
    let when = |at: Option<Timestamp>| {
        at.map(|at| match look.wide {
            true => to_the_second(at),
            false => relative(at, now),
        })
    };
    let rows = items.iter().map(|it| {
        [
            it.id.as_str().into(),
            it.node.clone().into(),
            it.profile.as_str().into(),
            it.owner.clone().into(),
            filled(it.dns.join(" ")).into(),
            serials.short(&it.newest.serial).into(),
            when(it.newest.not_after).into(),
            it.certificates.to_string().into(),
            when(it.newest.issued_at).into(),
            issuers.short(&it.newest.issuer).into(),
        ]
    });
    let table = Table::new([
        ("ID", Keep::Always),
        ("NODE", Keep::Unless(3)),
        ("PROFILE", Keep::Unless(1)),
        ("OWNER", Keep::Unless(4)),
        ("DNS", Keep::Unless(5)),
        ("SERIAL", Keep::Unless(2)),
        ("ENDS", Keep::Always),
        ("ISSUED", Keep::Unless(6)),
        ("NEWEST FROM", Keep::Wide),
        ("ISSUER", Keep::Wide),
    ]);
    let [all, issuers] = ["certs list --state any", "ca status"].map(|verb| called.command(verb));
    let none =
        format!("no certificate passes this filter: `{all}` lists every one, `{issuers}` the CAs");
    table.with(rows).render(look, &none)
}

fn show_text(shown: &Shown) -> Printable {
    let facts = &shown.certificate;
    let mut lines = vec![
        ("serial", facts.serial.clone()),
        ("log index", facts.log_index.to_string()),
        ("issued at", cell(facts.issued_at.map(to_the_second))),
        ("not after", cell(facts.not_after.map(to_the_second))),
        ("issuer", facts.issuer.clone()),
        ("SHA-256", cell(facts.sha256.clone())),
        ("SPKI SHA-256", facts.spki_sha256.clone()),
    ];
    if shown.voided {
        lines.push(("voided", "nobody was given it".to_owned()));
    }
    if let Some(lineage) = &shown.lineage {
        lines.extend([
            ("id", lineage.id.clone()),
            ("node", cell(lineage.node.clone())),
            ("entitlement", cell(lineage.entitlement.clone())),
            ("profile", lineage.profile.clone()),
            ("owner", cell(lineage.owner.clone())),
            ("criticality", lineage.criticality.clone()),
            ("newest", lineage.newest.serial.clone()),
        ]);
    }
    let facts = lines.iter().map(|(name, fact)| format!("{name:<13}{fact}"));
    let facts = Printable::from(facts.collect::<Vec<_>>().join("\n"));
    let rows = shown.history.iter().map(|it| {
        let time = |at: Option<Timestamp>| at.map(to_the_second);
        let (from, to) = (time(it.issued_at), time(it.not_after));
        [it.serial.as_str().into(), from.into(), to.into()]
    });
    let table = Table::new([
        ("BEFORE IT", Keep::Always),
        ("ISSUED AT", Keep::Always),
        ("NOT AFTER", Keep::Always),
    ]);
    let history = table.with(rows).render(Look::default(), "");
    Printable::join([facts, history], "\n\n")
}
