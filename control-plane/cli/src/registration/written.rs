//! What became of a registration that was written: which fields changed, from what to what.

use std::time::Duration;

use countersign_cli::duration;
use countersign_proto::admin::RegisterResponse;
use serde::Serialize;
use serde_json::Value;

use super::Shown;

/// A registration as it is now, and what was changed.
#[derive(Debug, Serialize)]
pub(crate) struct Written {
    #[serde(flatten)]
    registration: Shown,
    /// Whether it was registered before.
    updated: bool,
    pub(crate) outcome: Outcome,
    changes: Vec<Change>,
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    Created,
    Updated,
    Unchanged,
}

/// A field that differs, with its values as they are shown.
#[derive(Debug, PartialEq, Serialize)]
struct Change {
    field: String,
    before: Value,
    after: Value,
}

impl Written {
    /// As it is now, or would be.
    pub(crate) fn registration(&self) -> &Shown {
        &self.registration
    }

    /// In one line, as done or as it would be.
    pub(crate) fn text(&self, is_dry_run: bool) -> String {
        let place = self.registration.place();
        let is_new = self.outcome == Outcome::Created;
        let changes = self.changes.iter().map(|change| change.text(is_new));
        let changes: Vec<String> = changes.collect();
        let changes = changes.join(", ");
        match (self.outcome, is_dry_run) {
            (Outcome::Unchanged, _) => format!("unchanged {place}"),
            (Outcome::Created, false) => format!("registered {place}"),
            (Outcome::Created, true) => format!("would register {place}: {changes}"),
            (Outcome::Updated, false) => format!("updated {place}: {changes}"),
            (Outcome::Updated, true) => format!("would update {place}: {changes}"),
        }
    }
}

impl From<RegisterResponse> for Written {
    fn from(wire: RegisterResponse) -> Self {
        let after = Shown::from(wire.registration.unwrap_or_default());
        let before = wire.before.map(Shown::from);
        let values = |shown: &Shown| serde_json::to_value(shown).expect("our own shapes serialise");
        let (old, new) = (before.as_ref().map(values), values(&after));
        let changes = wire.changed.into_iter().map(|field| {
            let field = shown_as(field);
            let value = |of: Option<&Value>| of.and_then(|it| it.get(&field)).cloned();
            Change {
                before: value(old.as_ref()).unwrap_or_default(),
                after: value(Some(&new)).unwrap_or_default(),
                field,
            }
        });
        let changes: Vec<_> = changes.collect();
        Self {
            registration: after,
            updated: before.is_some(),
            outcome: match before {
                None => Outcome::Created,
                Some(_) if changes.is_empty() => Outcome::Unchanged,
                Some(_) => Outcome::Updated,
            },
            changes,
        }
    }
}

/// Of a field of the API, the name that it is shown by.
fn shown_as(field: String) -> String {
    match &*field {
        "x509_ttl" => "x509_ttl_secs".to_owned(),
        _ => field,
    }
}

impl Change {
    fn text(&self, is_new: bool) -> String {
        let (before, after) = (items(&self.before), items(&self.after));
        let is_many = |value: &Value| value.is_array() || value.is_object();
        if is_many(&self.before) || is_many(&self.after) {
            return format!("{} {}", self.field, signed(&before, &after));
        }
        let (name, nothing) = match &*self.field {
            "x509_ttl_secs" => ("ttl", "default"),
            "expires_at" => ("expires", "never"),
            field => (field, "-"),
        };
        let one = |items: &[String]| items.first().map_or(nothing, String::as_str).to_owned();
        match is_new {
            true => format!("{name} {}", one(&after)),
            false => format!("{name} {} → {}", one(&before), one(&after)),
        }
    }
}

/// What came and what went; both as a whole where only their order differs.
fn signed(before: &[String], after: &[String]) -> String {
    let new = after.iter().filter(|it| !before.contains(it));
    let gone = before.iter().filter(|it| !after.contains(it));
    let new = new.map(|it| format!("+{it}"));
    let signed: Vec<_> = new.chain(gone.map(|it| format!("-{it}"))).collect();
    match signed.is_empty() {
        true => format!("{} → {}", before.join(" "), after.join(" ")),
        false => signed.join(" "),
    }
}

/// What a value consists of, as people write it.
fn items(value: &Value) -> Vec<String> {
    match value {
        Value::Null => Vec::new(),
        Value::Array(list) => list.iter().flat_map(items).collect(),
        Value::Object(map) => {
            let pairs = map.iter();
            pairs
                .map(|(key, value)| format!("{key}={}", items(value).concat()))
                .collect()
        }
        Value::String(text) => vec![text.clone()],
        Value::Bool(is) => vec![if *is { "yes" } else { "no" }.to_owned()],
        Value::Number(secs) => {
            let secs = secs.as_u64().unwrap_or_default();
            vec![duration::format(Duration::from_secs(secs))]
        }
    }
}

#[cfg(test)]
mod tests {
    use countersign_proto::admin::Registration;

    use super::*;

    fn registration() -> Registration {
        Registration {
            id: "spiffe://example.org/web".to_owned(),
            by_hand: true,
            owner: "me".to_owned(),
            dns: vec!["a.org".to_owned(), "b.org".to_owned()],
            labels: [("env".to_owned(), "prod".to_owned())].into(),
            x509_ttl: Some(Duration::from_secs(3_600).try_into().unwrap()),
            ..Registration::default()
        }
    }

    fn written(changed: &[&str], change: impl FnOnce(&mut Registration)) -> Written {
        let mut after = registration();
        change(&mut after);
        Written::from(RegisterResponse {
            registration: Some(after),
            before: Some(registration()),
            changed: changed.iter().map(|&field| field.to_owned()).collect(),
        })
    }

    #[test]
    fn what_changed_is_told_from_what_to_what() {
        let updated = written(
            &["owner", "labels", "x509_ttl", "dns", "hint", "default"],
            |it| {
                it.owner = "you".to_owned();
                it.labels = [("env".to_owned(), "test".to_owned())].into();
                it.x509_ttl = Some(Duration::from_secs(1_800).try_into().unwrap());
                it.dns = vec!["b.org".to_owned(), "c.org".to_owned()];
                it.hint = "x".to_owned();
                it.is_default = true;
            },
        );
        assert_eq!(
            updated.text(false),
            "updated spiffe://example.org/web by hand: owner me → you, \
             labels +env=test -env=prod, ttl 1h → 30m, dns +c.org -a.org, hint - → x, default no → yes"
        );
        assert_eq!(updated.changes[2].field, "x509_ttl_secs");
        assert_eq!(updated.changes[2].before, 3_600);
        assert_eq!(updated.changes[2].after, 1_800);
        let cleared = written(&["x509_ttl", "dns"], |it| {
            it.x509_ttl = None;
            it.dns.reverse();
        });
        assert_eq!(
            cleared.text(true),
            "would update spiffe://example.org/web by hand: ttl 1h → default, \
             dns a.org b.org → b.org a.org"
        );
    }

    #[test]
    fn nothing_and_everything_are_told_apart() {
        let unchanged = written(&[], |_| ());
        assert_eq!(unchanged.outcome, Outcome::Unchanged);
        assert_eq!(
            unchanged.text(false),
            "unchanged spiffe://example.org/web by hand"
        );
        let created = Written::from(RegisterResponse {
            registration: Some(registration()),
            before: None,
            changed: vec!["owner".to_owned(), "dns".to_owned(), "x509_ttl".to_owned()],
        });
        assert_eq!(created.outcome, Outcome::Created);
        assert_eq!(
            created.text(false),
            "registered spiffe://example.org/web by hand"
        );
        assert_eq!(
            created.text(true),
            "would register spiffe://example.org/web by hand: owner me, dns +a.org +b.org, \
             ttl 1h"
        );
    }
}
