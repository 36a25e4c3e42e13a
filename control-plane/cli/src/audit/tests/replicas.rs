//! The logs of several replicas, as a user gives them.

use clap::Parser;
use countersign_audit::Audit;
use countersign_logs::Replicas;

use super::*;

#[test]
fn folders_of_replicas_are_judged_together() {
    let replicas = Replicas::new();
    let [a, b, c] = ["a", "b", "c"].map(|name| replicas.path(name).display().to_string());
    assert_eq!(run(&["audit", "verify", &a, &b, &c]), Ok(Exit::Yes));
    assert_eq!(run(&["audit", "verify", &c, &c]), Ok(Exit::No));
    let keys = ["--key", &format!("{a}/key.vkey")];
    let line = [&["audit", "verify", &a, &b, &c], &keys[..]].concat();
    assert_eq!(run(&line).unwrap_err().code, "key_unusable");
    let both = ["countersign", "audit", "verify", &a, "--log", &b];
    assert!(
        crate::Cli::try_parse_from(both).is_err(),
        "one or the other"
    );
}

#[test]
fn text_names_seals_and_what_is_missing() {
    let replicas = Replicas::new();
    let verdict = Audit::of(&replicas.path("a")).judge(&|_, _| ()).unwrap();
    let text = verify::text(&verdict);
    for part in [
        "replica c joined with log 0a1b2e",
        "sealed log 0a1b2d of replica b with 300 entries",
        "missing: log 0a1b2d of replica b, which entry 2 of",
        "missing: log 0a1b2e of replica c",
        "\nsound",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let json = serde_json::to_value(&verdict).unwrap();
    assert_eq!(json["missing"][0]["log_id"], "0a1b2d");
    assert_eq!(json["logs"][0]["seals"][0]["size"], 300);
}
