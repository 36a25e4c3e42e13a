//! `countersign register`: one registration, as much of it as is given.

use std::collections::HashMap;
use std::time::Duration;

use clap::{Args, ValueEnum};
use countersign_cli::{Exit, Failure};
use countersign_model::{Criticality, Selector, SpiffeId};
use countersign_proto::admin::{RegisterMode, RegisterRequest, Registration};
use countersign_proto::convert::time::timestamp;

use super::{Written, label, tell_rivals};
use crate::client::{Client, failure, request};
use crate::output::Output;
use crate::times;

pub(crate) const EXAMPLES: &str = "Examples:\n  \
    countersign register --id spiffe://example.org/web --node spiffe://example.org/node/a \\\n      \
    --selector unix:uid:1000 --owner team-web\n  \
    countersign register --id spiffe://example.org/web --node spiffe://example.org/node/a \\\n      \
    --selector unix:uid:1000 --dns web.example.org --x509-ttl 20m    # the owner stays\n  \
    countersign register --id spiffe://example.org/web --node spiffe://example.org/node/a \\\n      \
    --selector unix:uid:1000 --clear dns --dry-run\n  \
    countersign register --id spiffe://example.org/plc --by-hand --owner team-plant \\\n      \
    --label site=hall-7 --expires-in 30d\n  \
    countersign register --id spiffe://example.org/plc --by-hand \\\n      \
    --expires-at 2030-12-31T23:59:59Z    # or 2030-12-31\n\n\
    ID, node and selectors say which registration it is. If there is one, what is left out stays.\n\
    Many at once: see `countersign apply`.";

#[derive(Debug, Args)]
pub(crate) struct Register {
    /// The SPIFFE ID to hand out
    #[arg(long)]
    id: SpiffeId,
    /// The node that may hold it
    #[arg(long, required_unless_present = "by_hand", conflicts_with = "by_hand")]
    node: Option<SpiffeId>,
    /// What a caller must show; several mean all of them
    #[arg(
        long = "selector",
        value_name = "TYPE:KEY:VALUE",
        required_unless_present = "by_hand",
        conflicts_with = "by_hand"
    )]
    selectors: Vec<Selector>,
    /// No node holds it: `countersign sign` signs requests for it
    #[arg(long)]
    by_hand: bool,
    /// Who answers for it; a new registration needs one
    #[arg(long)]
    owner: Option<String>,
    /// low, standard or critical; a policy may demand that you say it [default: standard]
    #[arg(long)]
    criticality: Option<Criticality>,
    /// What operators find it by; may be repeated. All of them: others are taken away
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// Lifetime of its certificates [default: svid.x509_ttl of the control plane]
    #[arg(long, value_parser = countersign_cli::duration::argument, value_name = "DURATION")]
    x509_ttl: Option<Duration>,
    /// A DNS name in its certificates; may be repeated. All of them: others are taken away
    #[arg(long, value_name = "NAME")]
    dns: Vec<String>,
    /// The name by which a workload tells its identities apart
    #[arg(long, conflicts_with = "by_hand")]
    hint: Option<String>,
    /// The identity that the SDS name `default` stands for
    #[arg(long, conflicts_with = "by_hand")]
    default: bool,
    /// The registration ends after this time [default: never]
    #[arg(long, value_parser = countersign_cli::duration::argument, value_name = "DURATION")]
    expires_in: Option<Duration>,
    /// The registration ends at this time: RFC 3339, a date or Unix seconds
    #[arg(long, conflicts_with = "expires_in", value_name = "TIME", value_parser = times::end)]
    expires_at: Option<jiff::Timestamp>,
    /// Of one that is registered: take this away; may be repeated
    #[arg(long, value_name = "FIELD", conflicts_with_all = ["replace", "create"])]
    clear: Vec<Clearable>,
    /// Of one that is registered: take away what is left out here
    #[arg(long)]
    replace: bool,
    /// Refuse where it is registered already
    #[arg(long, conflicts_with = "replace")]
    create: bool,
    /// Say what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// What a registration can be without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Clearable {
    /// Back to standard
    Criticality,
    /// All labels
    Label,
    /// Back to svid.x509_ttl of the control plane
    #[value(name = "x509-ttl")]
    X509Ttl,
    /// All DNS names
    Dns,
    /// The hint
    Hint,
    /// It is not the default any more
    Default,
    /// It does not end any more
    Expires,
}

impl Clearable {
    /// The field's name in the API.
    fn field(self) -> &'static str {
        match self {
            Self::Criticality => "criticality",
            Self::Label => "labels",
            Self::X509Ttl => "x509_ttl",
            Self::Dns => "dns",
            Self::Hint => "hint",
            Self::Default => "default",
            Self::Expires => "expires_at",
        }
    }
}

impl Register {
    pub(crate) async fn run(self, client: &Client, output: Output) -> Result<Exit, Failure> {
        let asked = self.request()?;
        let is_dry_run = asked.dry_run;
        let mut admin = client.connect().await?;
        let answer = admin.register(request(asked)).await.map_err(failure)?;
        let written = Written::from(answer.into_inner());
        output.show(&written, |it| it.text(is_dry_run))?;
        tell_rivals(std::iter::once(written.registration()), client, output).await?;
        Ok(Exit::Yes)
    }

    pub(super) fn request(self) -> Result<RegisterRequest, Failure> {
        let mode = match (self.replace, self.create) {
            (true, _) => RegisterMode::Replace,
            (_, true) => RegisterMode::Create,
            _ => RegisterMode::Merge,
        };
        let given = match mode {
            RegisterMode::Merge => self.written()?,
            _ => Vec::new(),
        };
        Ok(RegisterRequest {
            mode: mode.into(),
            given: given.into_iter().map(str::to_owned).collect(),
            dry_run: self.dry_run,
            registration: Some(self.registration()?),
        })
    }

    /// The fields that are written: those that are given, and those that are cleared.
    fn written(&self) -> Result<Vec<&'static str>, Failure> {
        let given = self.given();
        let both = self.clear.iter().find(|it| given.contains(&it.field()));
        if let Some(both) = both.and_then(ValueEnum::to_possible_value) {
            return Err(Failure::new(
                Exit::Usage,
                "given_and_cleared",
                format!(
                    "--clear {} takes away what another flag gives",
                    both.get_name()
                ),
                "give it a value, or clear it",
            ));
        }
        let cleared = self.clear.iter().map(|it| it.field());
        Ok(given.iter().copied().chain(cleared).collect())
    }

    fn given(&self) -> Vec<&'static str> {
        let fields = [
            ("owner", self.owner.is_some()),
            ("criticality", self.criticality.is_some()),
            ("labels", !self.labels.is_empty()),
            ("x509_ttl", self.x509_ttl.is_some()),
            ("dns", !self.dns.is_empty()),
            ("hint", self.hint.is_some()),
            ("default", self.default),
            (
                "expires_at",
                self.expires_in.is_some() || self.expires_at.is_some(),
            ),
        ];
        let given = fields.into_iter().filter(|(_, is_given)| *is_given);
        given.map(|(field, _)| field).collect()
    }

    fn registration(self) -> Result<Registration, Failure> {
        let count = self.labels.len();
        let labels: HashMap<_, _> = self.labels.into_iter().collect();
        if labels.len() < count {
            return Err(Failure::new(
                Exit::Usage,
                "label_twice",
                "a label is given twice",
                "give each --label key once",
            ));
        }
        Ok(Registration {
            id: self.id.to_string(),
            node: self.node.map_or_else(String::new, |node| node.to_string()),
            by_hand: self.by_hand,
            labels,
            expires_in: self.expires_in.and_then(|within| within.try_into().ok()),
            expires_at: self.expires_at.map(timestamp),
            selectors: self.selectors.iter().map(Selector::to_string).collect(),
            owner: self.owner.unwrap_or_default(),
            criticality: self
                .criticality
                .map_or_else(String::new, |it| it.as_str().to_owned()),
            x509_ttl: self.x509_ttl.and_then(|ttl| ttl.try_into().ok()),
            dns: self.dns,
            hint: self.hint.unwrap_or_default(),
            is_default: self.default,
            ..Registration::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        register: Register,
    }

    fn asked(line: &str) -> Result<RegisterRequest, Failure> {
        let line = format!("x --id spiffe://example.org/web --by-hand {line}");
        let line = Line::try_parse_from(line.split_whitespace()).unwrap();
        line.register.request()
    }

    #[test]
    fn what_is_left_out_is_not_written() {
        for (line, given) in [
            ("", vec![]),
            ("--owner me", vec!["owner"]),
            ("--dns a.org --x509-ttl 30m", vec!["x509_ttl", "dns"]),
            ("--expires-in 1d --label a=b", vec!["labels", "expires_at"]),
            ("--clear dns --clear label", vec!["dns", "labels"]),
            (
                "--criticality low --clear expires",
                vec!["criticality", "expires_at"],
            ),
        ] {
            let asked = asked(line).unwrap();
            assert_eq!(asked.mode(), RegisterMode::Merge, "{line}");
            assert_eq!(asked.given, given, "{line}");
        }
        assert_eq!(asked("--replace").unwrap().mode(), RegisterMode::Replace);
        assert_eq!(asked("--create").unwrap().mode(), RegisterMode::Create);
    }

    #[test]
    fn field_is_given_or_cleared() {
        let refused = asked("--dns a.org --clear dns").unwrap_err();
        assert_eq!(
            (refused.exit, &*refused.code),
            (Exit::Usage, "given_and_cleared")
        );
        // By the words of the command line, not by those of the API.
        let refused = asked("--expires-in 1d --clear expires").unwrap_err();
        assert!(refused.message.contains("--clear expires "), "{refused}");
    }
}
