//! `countersign ca waive` and `unwaive`: a pending root goes on without who does not acknowledge.

use std::time::Duration;

use clap::Args;
use countersign_cli::Failure;
use countersign_proto::ABSENT_CONSUMERS;
use countersign_proto::admin::admin_client::AdminClient;
use countersign_proto::admin::{UnwaiveRequest, WaiveRequest};
use countersign_proto::convert::time::duration;
use jiff::Timestamp;
use serde::Serialize;
use tonic::transport::Channel;

use super::laggards::{Awaited, Laggards};
use crate::client::{failure, request, time};
use crate::distance::to_the_second;
use crate::output::Output;

pub(super) const WAIVE_EXAMPLES: &str = "Examples:\n  \
    countersign ca status     # says whom the root waits for, and this command for each\n  \
    countersign ca waive --consumer 'spiffe://example.org/node/a proxy' \\\n      \
        --reason \"host is dead, ticket 4711\" --for 24h\n  \
    countersign ca waive --absent --reason \"root made by a wrong clock\" --for 1h\n\n\
    A consumer that is waived and alive refuses what the new root signs until it has the bundle. \
    A waiver counts for the pending root alone, and ends by itself; 1 min to 7 days. \
    --absent is refused unless the active root is not valid yet by the control plane's clock, and \
    spares who is connected. Compare that clock with another machine first: where it alone is wrong, \
    every absent consumer is alive, and locked out until it is given the new bundle by hand.";
pub(super) const UNWAIVE_EXAMPLES: &str = "Example:\n  \
    countersign ca unwaive --consumer 'spiffe://example.org/node/a proxy'";

#[derive(Debug, Args)]
pub(crate) struct Waive {
    /// Whom not to wait for, as `ca status` names it; may be repeated
    #[arg(
        long = "consumer",
        required_unless_present = "absent",
        value_name = "NAME"
    )]
    consumers: Vec<String>,
    /// Whoever is not connected, while the active root is not valid yet
    #[arg(long, conflicts_with = "consumers")]
    absent: bool,
    /// Why, for the issuance log
    #[arg(long)]
    reason: String,
    /// How long the waiver counts
    #[arg(long = "for", value_name = "DURATION", value_parser = countersign_cli::duration::argument)]
    lasting: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct Unwaive {
    /// Whom to wait for again
    #[arg(long, value_name = "NAME")]
    consumer: String,
}

#[derive(Debug, Serialize)]
struct Waived {
    consumers: Vec<String>,
    root: String,
    until: Option<Timestamp>,
    #[serde(flatten)]
    laggards: Laggards,
}

#[derive(Debug, Serialize)]
struct Unwaived {
    consumer: String,
}

impl Waive {
    pub(super) async fn run(
        self,
        admin: &mut AdminClient<Channel>,
        output: Output,
        now: Timestamp,
    ) -> Result<(), Failure> {
        let asked = request(WaiveRequest {
            consumers: self.consumers.clone(),
            reason: self.reason,
            lasting: Some(duration(self.lasting)),
            absent: self.absent,
        });
        let answer = admin.waive(asked).await.map_err(failure)?.into_inner();
        let waived = Waived {
            consumers: match self.absent {
                true => vec![ABSENT_CONSUMERS.to_owned()],
                false => self.consumers,
            },
            root: answer.root,
            until: time(answer.until),
            laggards: Laggards::of(answer.laggards, answer.waiting_for_more),
        };
        output.show(&waived, |waived| text(waived, now))
    }
}

impl Unwaive {
    pub(super) async fn run(
        self,
        admin: &mut AdminClient<Channel>,
        output: Output,
    ) -> Result<(), Failure> {
        let consumer = self.consumer;
        let asked = request(UnwaiveRequest {
            consumer: consumer.clone(),
        });
        admin.unwaive(asked).await.map_err(failure)?;
        let unwaived = Unwaived { consumer };
        output.show(&unwaived, |it| {
            format!("a pending root waits for {} again", it.consumer)
        })
    }
}

fn text(waived: &Waived, now: Timestamp) -> String {
    let until = waived.until.map_or_else(String::new, to_the_second);
    let consumers = waived.consumers.join("\n  ");
    let waiting = waived.laggards.text(Awaited::Acknowledgements, now);
    let waiting = waiting.unwrap_or_else(|| "waits for nobody else".to_owned());
    format!(
        "root {} signs without these, until {until}:\n  {consumers}\n\
         one that is alive refuses what the root signs until it has the bundle\nit {waiting}",
        waived.root
    )
}
