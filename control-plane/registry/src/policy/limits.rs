//! What the rule that decides allows: lifetime, DNS names, owner, an end.

use std::ops::RangeInclusive;
use std::time::Duration;

use countersign_cli::duration;
use countersign_model::Registration;
use countersign_refusal::Denied;
use jiff::Timestamp;
use serde::Serializer;

use super::Rule;

/// The first limit of the rule that the registration is beyond.
pub(super) fn check(
    rule: &Rule,
    registration: &Registration,
    ttl: Duration,
    now: Timestamp,
) -> Result<(), Denied> {
    lifetime(rule, ttl)?;
    dns(rule, &registration.dns)?;
    owner(rule, &registration.owner)?;
    end(rule, registration.expires_at, now)
}

fn lifetime(rule: &Rule, ttl: Duration) -> Result<(), Denied> {
    if rule.ttl.contains(&ttl) {
        return Ok(());
    }
    let [shortest, longest, ttl] = [*rule.ttl.start(), *rule.ttl.end(), ttl].map(duration::format);
    Err(Denied {
        code: "policy_ttl",
        message: format!(
            "rule {} allows lifetimes of {shortest} to {longest}, not {ttl}",
            rule.name
        ),
        remedy: "choose --x509-ttl within the rule's bounds, or change the rule",
    })
}

fn dns(rule: &Rule, names: &[String]) -> Result<(), Denied> {
    let allowed = |name: &&String| rule.dns.iter().any(|pattern| pattern.matches(name));
    let Some(name) = names.iter().find(|name| !allowed(name)) else {
        return Ok(());
    };
    Err(Denied {
        code: "policy_dns",
        message: format!("rule {} does not allow the DNS name {name}", rule.name),
        remedy: "leave the name out, or add it to `dns` of the rule",
    })
}

fn owner(rule: &Rule, owner: &str) -> Result<(), Denied> {
    if rule.owners.is_empty() || rule.owners.iter().any(|allowed| allowed == owner) {
        return Ok(());
    }
    Err(Denied {
        code: "policy_owner",
        message: format!("rule {} does not allow the owner {owner}", rule.name),
        remedy: "name an owner that the rule allows, or add this one to `owners` of the rule",
    })
}

fn end(rule: &Rule, expires_at: Option<Timestamp>, now: Timestamp) -> Result<(), Denied> {
    let Some(within) = rule.expires_within else {
        return Ok(());
    };
    // A time beyond what a timestamp holds bounds nothing.
    let latest = now.checked_add(within).unwrap_or(Timestamp::MAX);
    if expires_at.is_some_and(|end| end <= latest) {
        return Ok(());
    }
    Err(Denied {
        code: "policy_expiry",
        message: format!(
            "rule {} demands a registration that ends within {}",
            rule.name,
            duration::format(within)
        ),
        remedy: "give it an --expires-in within the rule's bound, or change the rule",
    })
}

/// Bounds as two whole numbers of seconds.
pub(super) fn whole_secs<S: Serializer>(
    bounds: &RangeInclusive<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq([bounds.start().as_secs(), bounds.end().as_secs()])
}

/// A whole number of seconds, or nothing.
pub(super) fn whole_secs_or_none<S: Serializer>(
    duration: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => serializer.serialize_some(&duration.as_secs()),
        None => serializer.serialize_none(),
    }
}
