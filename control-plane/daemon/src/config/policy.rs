//! `[policy]`: what every registration must name, and `[[policy.rule]]`: which parent may hand out
//! what. Rules are read from top to bottom.

use std::collections::BTreeSet;
use std::time::Duration;

use countersign_cli::Reader;
use countersign_model::registration::MAX_OWNER_BYTES;

use countersign_attest::Method;
use countersign_registry::Policy;
use countersign_registry::policy::{DnsPattern, MAX_ENTRIES, MAX_RULES, PathPattern, Rule, Scope};
use countersign_registry::rules::TTL;

const DAY: Duration = Duration::from_secs(24 * 3_600);
/// A registration that must end ends within these bounds.
const WITHIN: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(60)..=DAY.saturating_mul(3_650);
const MAX_NAME_BYTES: usize = 64;
const ONE_PARENT: &str = "write nodes = [\"/node/*\"], or by_hand = true";

pub(super) fn read(reader: &mut Reader) -> Policy {
    let mut names = BTreeSet::new();
    let rules = reader.tables("policy.rule", |reader| {
        let rule = rule(reader)?;
        if !names.insert(rule.name.clone()) {
            let remedy = "give every rule a name of its own: refusals say it";
            reader.mistake("name", "is the name of an earlier rule", remedy);
        }
        Some(rule)
    });
    if rules.len() > MAX_RULES {
        let problem = format!("has more than {MAX_RULES} rules");
        reader.mistake("policy.rule", problem, "merge rules by patterns");
    }
    let require_criticality = reader.boolean("policy.require_criticality", false);
    Policy::new(rules).requiring_criticality(require_criticality)
}

fn rule(reader: &mut Reader) -> Option<Rule> {
    let name = reader.required("name", "write a name such as \"payments\"", |text| {
        let allowed = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
        let fits = (1..=MAX_NAME_BYTES).contains(&text.len()) && text.bytes().all(allowed);
        let problem = "is no name of a-z, 0-9, - and _";
        fits.then(|| text.to_owned()).ok_or(problem.to_owned())
    });
    let scope = scope(reader);
    let remedy = "write paths such as \"/pay/**\"";
    if !reader.contains("ids") {
        reader.mistake("ids", "is missing", remedy);
    }
    let ids = entries(reader, "ids", remedy, path);
    let dns = entries(
        reader,
        "dns",
        "write names such as \"*.example.org\"",
        |text| DnsPattern::parse(text).map_err(|error| error.to_string()),
    );
    let owners = entries(
        reader,
        "owners",
        "write owners such as \"team-pay\"",
        |text| {
            let fits = (1..=MAX_OWNER_BYTES).contains(&text.len());
            fits.then(|| text.to_owned())
                .ok_or("is no owner".to_owned())
        },
    );
    let ttl =
        reader.duration("min_ttl", *TTL.start(), TTL)..=reader.duration("max_ttl", *TTL.end(), TTL);
    if ttl.is_empty() {
        reader.mistake("min_ttl", "is longer than max_ttl", "lower it");
    }
    let within = reader.duration("expires_within", *WITHIN.end(), WITHIN);
    Some(Rule {
        name: name?,
        scope: scope?,
        ids,
        ttl,
        dns,
        owners,
        expires_within: reader.contains("expires_within").then_some(within),
    })
}

/// Nodes, or by hand: one of them.
fn scope(reader: &mut Reader) -> Option<Scope> {
    let by_hand = reader.boolean("by_hand", false);
    let nodes = entries(reader, "nodes", "write paths such as \"/node/*\"", path);
    let attestor = reader.optional("attestor", "write \"join_token\"", |text| {
        let known = Method::ALL.into_iter().find(|it| it.as_str() == text);
        known.ok_or_else(|| "is no way in which nodes attest".to_owned())
    });
    match (reader.contains("nodes"), by_hand) {
        (true, false) => Some(Scope::Nodes { nodes, attestor }),
        (false, true) if !reader.contains("attestor") => Some(Scope::Manual),
        (false, true) => {
            reader.mistake(
                "attestor",
                "stands in a rule for signing by hand",
                "remove it",
            );
            None
        }
        (true, true) => {
            reader.mistake("by_hand", "stands beside nodes", ONE_PARENT);
            None
        }
        (false, false) => {
            reader.mistake("nodes", "is missing", ONE_PARENT);
            None
        }
    }
}

fn path(text: &str) -> Result<PathPattern, String> {
    PathPattern::parse(text).map_err(|error| error.to_string())
}

/// A list that is not longer than a rule may be.
fn entries<T>(
    reader: &mut Reader,
    key: &str,
    remedy: &str,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Vec<T> {
    let entries = reader.list(key, remedy, parse);
    if entries.len() > MAX_ENTRIES {
        let problem = format!("has more than {MAX_ENTRIES} entries");
        reader.mistake(key, problem, "split the rule");
    }
    entries
}
