//! `countersign replica raise`, and what is said of the level wherever it is shown.

use clap::Args;
use countersign_cli::{Exit, Failure};
use countersign_proto::admin::{self as wire, RaiseLevelRequest};
use serde::Serialize;
use tonic::Request;

use crate::called::Called;
use crate::client::{Client, failure};
use crate::output::Output;

/// What may be written to the database, since every control plane that uses it reads that.
#[derive(Debug, Serialize)]
pub(crate) struct Level {
    pub(super) level: i32,
    /// What the control plane that answers speaks.
    pub(super) speaks: i32,
    /// Who speaks less.
    pub(super) held_back_by: Vec<String>,
}

impl From<wire::Level> for Level {
    fn from(wire: wire::Level) -> Self {
        Self {
            level: wire.level,
            speaks: wire.speaks,
            held_back_by: wire.held_back_by,
        }
    }
}

impl Level {
    /// Whether it can be raised, now or later.
    pub(crate) fn is_behind(&self) -> bool {
        self.level < self.speaks
    }

    /// In one line, with what comes next.
    pub(crate) fn told(&self, called: &Called) -> String {
        let Self { level, speaks, .. } = self;
        if !self.is_behind() {
            return format!("level {level}");
        }
        let [raise, remove] =
            ["replica raise", "replica remove --name"].map(|verb| called.command(verb));
        match self.held_back_by.as_slice() {
            [] => format!(
                "level {level}: all speak {speaks}; `{raise}` raises it, and the version before cannot come back then"
            ),
            names => {
                let first = &names[0];
                let names = names.join(", ");
                format!(
                    "level {level}, and {speaks} once {names} speaks it: upgrade, or `{remove} {first}` where it is gone"
                )
            }
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Raise {}

#[derive(Debug, Serialize)]
pub(super) struct Raised {
    #[serde(flatten)]
    pub(super) level: Level,
    /// It was raised before.
    pub(super) was_raised: bool,
}

impl Raise {
    pub(super) async fn run(self, client: &Client, output: Output) -> Result<Exit, Failure> {
        let mut admin = client.connect().await?;
        let raised = admin.raise_level(Request::new(RaiseLevelRequest {})).await;
        let raised = raised.map_err(failure)?.into_inner();
        let raised = Raised {
            level: raised.level.unwrap_or_default().into(),
            was_raised: raised.was_raised,
        };
        output.show(&raised, Raised::text)?;
        Ok(Exit::Yes)
    }
}

impl Raised {
    pub(super) fn text(&self) -> String {
        let level = self.level.level;
        match self.was_raised {
            true => format!("the level was {level} before: nothing was done"),
            false => format!(
                "the level is {level}: no control plane of a version that speaks less can use this database any more"
            ),
        }
    }
}
