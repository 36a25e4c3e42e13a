//! `[policy]`: what every registration must name, and `[[policy.rule]]`: which parent may hand out
//! what. Rules are read from top to bottom.

use std::collections::BTreeSet;
use std::time::Duration;

use countersign_cli::{Key, Reader};
use countersign_model::registration::MAX_OWNER_BYTES;

use countersign_attest::Method;
use countersign_registry::Policy;
use countersign_registry::policy::{DnsPattern, MAX_ENTRIES, MAX_RULES, PathPattern, Rule, Scope};
use countersign_registry::rules::TTL;

const REQUIRE_CRITICALITY: Key = Key::new(
    "policy.require_criticality",
    "Whether every registration has to say how critical it is.",
);
const RULE: Key = Key::new(
    "policy.rule",
    "Which parent may hand out what. Rules are read from top to bottom, and the first whose parent \
     and ID fit decides; without any rule everything may be registered.",
);
const NAME: Key = Key::new("name", "The name of the rule, which a refusal says.")
    .of("a-z, 0-9, - and _")
    .within("1 to 64 characters; another one for each rule");
const IDS: Key = Key::new(
    "ids",
    "Which SPIFFE IDs may be registered, by path: `*` is one segment, `**` any number.",
)
.of("paths");
const NODES: Key = Key::new(
    "nodes",
    "Under which nodes, by the paths of their SPIFFE IDs. Either this or `by_hand`.",
)
.of("paths");
const BY_HAND: Key = Key::new(
    "by_hand",
    "Whether the rule is for identities that an operator signs by hand, and not for nodes.",
);
const ATTESTOR: Key = Key::new(
    "attestor",
    "How the nodes must have attested. In any way if it is not set.",
);
const MIN_TTL: Key = Key::new("min_ttl", "The shortest lifetime that may be registered.");
const MAX_TTL: Key = Key::new("max_ttl", "The longest lifetime that may be registered.");
const DNS: Key = Key::new(
    "dns",
    "Which DNS names may be registered: whole ones, or `*.example.org`. None if it is not set.",
)
.of("DNS names");
const OWNERS: Key = Key::new(
    "owners",
    "Of whom a registration must be. Of anybody if it is not set.",
)
.of("owners");
const EXPIRES_WITHIN: Key = Key::new(
    "expires_within",
    "How soon a registration must end. It need not end if this is not set.",
);

const DAY: Duration = Duration::from_secs(24 * 3_600);
/// A registration that must end ends within these bounds.
const WITHIN: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(60)..=DAY.saturating_mul(3_650);
const MAX_NAME_BYTES: usize = 64;
const ONE_PARENT: &str = "write nodes = [\"/node/*\"], or by_hand = true";

pub(super) fn read(reader: &mut Reader) -> Policy {
    let mut names = BTreeSet::new();
    let rules = reader.tables(&RULE, MAX_RULES, |reader| {
        let rule = rule(reader)?;
        if !names.insert(rule.name.clone()) {
            let remedy = "give every rule a name of its own: refusals say it";
            reader.mistake(NAME, "is the name of an earlier rule", remedy);
        }
        Some(rule)
    });
    let require_criticality = reader.boolean(&REQUIRE_CRITICALITY, false);
    Policy::new(rules).requiring_criticality(require_criticality)
}

fn rule(reader: &mut Reader) -> Option<Rule> {
    let name = reader.required(&NAME, "write a name such as \"payments\"", |text| {
        let allowed = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
        let fits = (1..=MAX_NAME_BYTES).contains(&text.len()) && text.bytes().all(allowed);
        let problem = "is no name of a-z, 0-9, - and _";
        fits.then(|| text.to_owned()).ok_or(problem.to_owned())
    });
    let scope = scope(reader);
    let remedy = at_most("paths such as \"/pay/**\"");
    let ids = reader.required_list(&IDS, &remedy, MAX_ENTRIES, path);
    let dns = dns_names(reader);
    let owners = owners(reader);
    let ttl =
        reader.duration(&MIN_TTL, *TTL.start(), TTL)..=reader.duration(&MAX_TTL, *TTL.end(), TTL);
    if ttl.is_empty() {
        reader.mistake(MIN_TTL, "is longer than max_ttl", "lower it");
    }
    let expires_within = reader.optional_duration(&EXPIRES_WITHIN, WITHIN);
    Some(Rule {
        name: name?,
        scope: scope?,
        ids,
        ttl,
        dns,
        owners,
        expires_within,
    })
}

/// Nodes, or by hand: one of them.
fn scope(reader: &mut Reader) -> Option<Scope> {
    let by_hand = reader.boolean(&BY_HAND, false);
    let remedy = at_most("paths such as \"/node/*\"");
    let nodes = reader.list(&NODES, &remedy, MAX_ENTRIES, path);
    let attestor = reader.optional_choice(
        &ATTESTOR,
        &Method::ALL.map(|method| (method.as_str(), method)),
        "write \"join_token\"",
    );
    match (reader.contains(NODES), by_hand) {
        (true, false) => Some(Scope::Nodes { nodes, attestor }),
        (false, true) if !reader.contains(ATTESTOR) => Some(Scope::Manual),
        (false, true) => {
            reader.mistake(
                ATTESTOR,
                "stands in a rule for signing by hand",
                "remove it",
            );
            None
        }
        (true, true) => {
            reader.mistake(BY_HAND, "stands beside nodes", ONE_PARENT);
            None
        }
        (false, false) => {
            reader.mistake(NODES, "is missing", ONE_PARENT);
            None
        }
    }
}

fn path(text: &str) -> Result<PathPattern, String> {
    PathPattern::parse(text).map_err(|error| error.to_string())
}

fn at_most(what: &str) -> String {
    format!("write at most {MAX_ENTRIES} {what}; split the rule where it needs more")
}

fn dns_names(reader: &mut Reader) -> Vec<DnsPattern> {
    let remedy = at_most("names such as \"*.example.org\"");
    reader.list(&DNS, &remedy, MAX_ENTRIES, |text| {
        DnsPattern::parse(text).map_err(|error| error.to_string())
    })
}

fn owners(reader: &mut Reader) -> Vec<String> {
    let remedy = at_most("owners such as \"team-pay\"");
    reader.list(&OWNERS, &remedy, MAX_ENTRIES, |text| {
        let fits = (1..=MAX_OWNER_BYTES).contains(&text.len());
        let owner = fits.then(|| text.to_owned());
        owner.ok_or_else(|| "is no owner".to_owned())
    })
}
