//! `countersign id check`: is this a SPIFFE ID, and which rule does it break.

use clap::Subcommand;
use countersign_cli::{Exit, Failure};
use countersign_model::SpiffeId;
use serde::Serialize;

use crate::output::Output;

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Exit 0 if the text is a SPIFFE ID, 1 and the broken rule if it is not
    #[command(after_help = "Examples:\n  \
        countersign id check spiffe://example.org/web\n  \
        countersign id check spiffe://Example.org/web --json")]
    Check {
        /// The text to judge, byte for byte
        #[arg(value_name = "SPIFFE ID")]
        id: String,
    },
}

#[derive(Debug, Serialize)]
struct Verdict {
    id: String,
    valid: bool,
    rule: Option<&'static str>,
    section: Option<&'static str>,
    message: String,
}

impl Verb {
    #[allow(
        clippy::needless_pass_by_value,
        reason = "the shape of every group of verbs"
    )]
    pub(crate) fn run(self, output: Output) -> Result<Exit, Failure> {
        let Self::Check { id } = self;
        let verdict = judge(&id);
        output.show(&verdict, |verdict| verdict.message.clone())?;
        Ok(if verdict.valid { Exit::Yes } else { Exit::No })
    }
}

fn judge(id: &str) -> Verdict {
    let broken = SpiffeId::new(id).err();
    Verdict {
        id: id.to_owned(),
        valid: broken.is_none(),
        rule: broken.map(|error| error.rule.code()),
        section: broken.map(|error| error.rule.section()),
        message: broken.map_or_else(|| "valid".to_owned(), |error| error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_broken_rule_is_named() {
        assert!(judge("spiffe://example.org/web").valid);
        let verdict = judge("spiffe://example.org/web/");
        assert_eq!(
            (verdict.valid, verdict.rule),
            (false, Some("path_trailing_slash"))
        );
        assert_eq!(verdict.section, Some("SPIFFE-ID.md section 2.2"));
    }
}
