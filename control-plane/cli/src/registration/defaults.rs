//! Several defaults of one caller: the SDS name `default` can stand for one of them alone.

use std::collections::BTreeSet;

use countersign_cli::Failure;
use countersign_proto::admin::ListRequest;

use super::{Shown, listed};
use crate::client::Client;
use crate::output::Output;

/// Most that are told at once.
const MOST_TOLD: usize = 5;

/// Tells people which of these registrations are the default of a caller that has another default already.
pub(crate) async fn tell_rivals<'a>(
    written: impl Iterator<Item = &'a Shown>,
    client: &Client,
    output: Output,
) -> Result<(), Failure> {
    let defaults: Vec<_> = written.filter(|it| it.default).collect();
    let nodes: BTreeSet<_> = defaults.iter().filter_map(|it| it.node.as_ref()).collect();
    if nodes.is_empty() || output.is_json() {
        return Ok(());
    }
    let mut nodes = nodes.into_iter();
    let (node, more) = (nodes.next(), nodes.next());
    let node = node.filter(|_| more.is_none()).cloned();
    let asked = ListRequest {
        node: node.unwrap_or_default(),
        ..ListRequest::default()
    };
    let all = listed(client, asked).await?.into_iter();
    let all: Vec<_> = all.map(Shown::from).collect();
    let rivals = rivals(&defaults, &all);
    for rival in rivals.iter().take(MOST_TOLD) {
        output.progress(rival.clone());
    }
    if rivals.len() > MOST_TOLD {
        output.progress(format!("and {} more like it", rivals.len() - MOST_TOLD));
    }
    Ok(())
}

/// A line for each pair.
fn rivals(defaults: &[&Shown], all: &[Shown]) -> Vec<String> {
    let mut lines = Vec::new();
    for it in defaults {
        let node = it.node.as_deref().unwrap_or_default();
        let others = all.iter().filter(|other| it.rivals(other));
        lines.extend(others.map(|other| {
            format!(
                "warning: {} and {} are both the default of one caller on {node}: take it from one of \
                 them, with register --clear default",
                it.id, other.id
            )
        }));
    }
    lines
}

impl Shown {
    /// Whether a caller that has the one may have the other too, and both are defaults.
    fn rivals(&self, other: &Self) -> bool {
        let within = |a: &Self, b: &Self| a.selectors.iter().all(|it| b.selectors.contains(it));
        other.default
            && self.node == other.node
            && self.id != other.id
            && (within(self, other) || within(other, self))
    }
}

#[cfg(test)]
mod tests {
    use countersign_proto::admin::Registration;

    use super::*;

    fn default(path: &str, node: &str, selectors: &[&str]) -> Shown {
        Shown::from(Registration {
            id: format!("spiffe://example.org/{path}"),
            node: node.to_owned(),
            selectors: selectors.iter().map(|it| (*it).to_owned()).collect(),
            is_default: true,
            ..Registration::default()
        })
    }

    #[test]
    fn two_defaults_of_one_caller_are_told() {
        let web = default("web", "a", &["unix:uid:1000"]);
        let narrower = default("db", "a", &["unix:uid:1000", "unix:gid:5"]);
        let plain = Shown {
            default: false,
            ..default("pay", "a", &["unix:uid:1000"])
        };
        let all = [
            default("web", "a", &["unix:uid:1000"]),
            narrower,
            plain,
            default("other", "a", &["unix:uid:1001"]),
            default("far", "b", &["unix:uid:1000"]),
        ];
        let told = rivals(&[&web], &all);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(
            told[0].contains("/web and spiffe://example.org/db"),
            "{told:?}"
        );
    }
}
