//! Registering through the command line: what a write changes, and files that are applied whole.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::harness::*;

fn web(more: &str) -> String {
    format!("register --id {WEB} --node {NODE_A} --selector unix:uid:1000 {more}")
}

/// What it prints, for people.
async fn told(plane: &Plane, line: &str) -> String {
    let output = plane.cli(line).await;
    assert!(output.status.success(), "{line}: {output:?}");
    String::from_utf8(output.stdout)
        .unwrap()
        .trim_end()
        .to_owned()
}

/// How it ends, and its error.
async fn refused(plane: &Plane, line: &str) -> (Option<i32>, Value) {
    let output = plane.cli(&format!("{line} --json")).await;
    let error: Value = serde_json::from_slice(&output.stderr).expect(line);
    (output.status.code(), error["error"].clone())
}

fn file(plane: &Plane, text: &str) -> PathBuf {
    let file = plane.folder().join("registrations");
    std::fs::write(&file, text).unwrap();
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn register_says_what_it_changed() {
    let plane = Plane::start().await;
    let place = format!("{WEB} on {NODE_A}");
    let first = web("--owner me --dns a.example.org --x509-ttl 1h --label env=prod --hint x");
    assert_eq!(told(&plane, &first).await, format!("registered {place}"));
    assert_eq!(told(&plane, &first).await, format!("unchanged {place}"));
    let second = web("--dns a.example.org --dns b.example.org --x509-ttl 30m");
    let change = "dns +b.example.org";
    let dry = told(&plane, &format!("{second} --dry-run")).await;
    assert_eq!(dry, format!("would update {place}: ttl 1h → 30m, {change}"));
    let done = told(&plane, &second).await;
    assert_eq!(done, format!("updated {place}: ttl 1h → 30m, {change}"));
    let kept = &plane.ask("list").await["items"][0];
    assert_eq!(
        (&kept["owner"], &kept["labels"], &kept["hint"]),
        (&json!("me"), &json!({"env": "prod"}), &json!("x")),
        "what is left out stays"
    );
    let cleared = plane.ask(&web("--clear dns --clear hint")).await;
    assert_eq!(cleared["outcome"], "updated");
    assert_eq!(cleared["changes"][0]["field"], "dns");
    assert_eq!(cleared["changes"][0]["after"], json!([]));
    assert_eq!(cleared["changes"][1]["before"], "x");
    let (exit, error) = refused(&plane, &web("--owner you --create")).await;
    assert_eq!(
        (exit, &error["code"]),
        (Some(3), &json!("already_registered"))
    );
    let (exit, error) = refused(&plane, &web("--replace --dns a.example.org")).await;
    assert_eq!((exit, &error["code"]), (Some(3), &json!("owner_invalid")));
    let replaced = told(&plane, &web("--replace --owner me")).await;
    let gone = "labels -env=prod, ttl 30m → default";
    assert_eq!(replaced, format!("updated {place}: {gone}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn exported_file_changes_nothing() {
    let plane = Plane::start().await;
    for line in [
        web("--owner no --label env=0777 --hint '#1' --expires-in 30d --x509-ttl 90m --default"),
        format!("register --id {WEB} --node {NODE_B} --selector unix:uid:1 --owner me --dns a.org"),
        format!("register --id {WEB} --by-hand --owner plant --criticality low"),
    ] {
        told(&plane, &line).await;
    }
    for line in ["export", "export --json"] {
        let text = told(&plane, line).await;
        assert_eq!(told(&plane, line).await, text, "it is stable");
        let file = file(&plane, &text);
        let apply = format!("apply -f {}", file.display());
        let dry = told(&plane, &format!("{apply} --dry-run")).await;
        assert_eq!(dry, "0 would be registered, 0 updated, 3 unchanged");
        assert_eq!(
            told(&plane, &apply).await,
            "0 registered, 0 updated, 3 unchanged"
        );
    }
    // Another control plane is given all of it.
    let text = told(&plane, "export").await;
    let other = Plane::start().await;
    let apply = format!("apply -f {}", file(&other, &text).display());
    let told_first = told(&other, &apply).await;
    assert!(
        told_first.ends_with("3 registered, 0 updated, 0 unchanged"),
        "{told_first}"
    );
    assert_eq!(told(&other, "export").await, text);
}

#[tokio::test(flavor = "multi_thread")]
async fn file_is_applied_whole_or_not_at_all() {
    let plane = Plane::start().await;
    told(&plane, &web("--owner me --dns a.example.org")).await;
    let entry = |id: &str, more: &str| {
        format!("  - {{id: {id}, node: {NODE_A}, selectors: [unix:uid:1000], {more}}}\n")
    };
    let good = entry(WEB, "owner: you");
    let new = entry(
        "spiffe://example.org/new",
        "owner: me, dns: [new.example.org]",
    );
    let bad = entry("spiffe://other.org/bad", "owner: me") + &entry(NODE_A, "owner: me");
    let apply = |text: &str| {
        let file = file(&plane, &format!("version: 1\nregistrations:\n{text}"));
        format!("apply -f {}", file.display())
    };
    let line = apply(&format!("{good}{new}{bad}"));
    let (exit, error) = refused(&plane, &line).await;
    assert_eq!((exit, &error["code"]), (Some(3), &json!("not_applied")));
    let mistakes = error["mistakes"].as_array().unwrap();
    let at: Vec<_> = mistakes
        .iter()
        .map(|it| it["key"].as_str().unwrap())
        .collect();
    assert_eq!(at, ["line 5, registrations[2]", "line 6, registrations[3]"]);
    assert!(
        mistakes[0]["problem"]
            .as_str()
            .unwrap()
            .contains("foreign_trust_domain")
    );
    assert!(
        mistakes[1]["problem"]
            .as_str()
            .unwrap()
            .contains("id_is_node")
    );
    let list = plane.ask("list").await;
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    assert_eq!(list["items"][0]["owner"], "me");

    let (exit, error) = refused(&plane, &apply("  - {id: x}\n  - {ownr: y}\n")).await;
    assert_eq!(
        (exit, &error["code"]),
        (Some(2), &json!("registrations_unreadable"))
    );
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("did you mean owner?"),
        "{error}"
    );

    let line = apply(&format!("{good}{new}"));
    let dry = told(&plane, &format!("{line} --dry-run")).await;
    let updated = format!("update {WEB} on {NODE_A}: owner me → you, dns -a.example.org");
    let created =
        format!("register spiffe://example.org/new on {NODE_A}: owner me, dns +new.example.org");
    assert_eq!(
        dry,
        format!("would {updated}\nwould {created}\n1 would be registered, 1 updated, 0 unchanged")
    );
    assert_eq!(plane.ask("list").await, list, "a dry run changes nothing");
    let applied = plane.ask(&line).await;
    assert_eq!(
        (&applied["committed"], &applied["created"]),
        (&json!(true), &json!(1))
    );
    assert_eq!(
        plane.ask("list").await["items"].as_array().unwrap().len(),
        2
    );
}

/// The SDS name `default` stands for one identity: which of two is nothing that anybody chose.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_default_of_a_caller_is_told() {
    let plane = Plane::start().await;
    let register = |path: &str| {
        format!(
            "register --id spiffe://example.org/{path} --node {NODE_A} --selector unix:uid:1000 \
             --owner me --default"
        )
    };
    let first = plane.cli(&register("web")).await;
    assert!(first.stderr.is_empty(), "{first:?}");
    let second = plane.cli(&register("db")).await;
    assert!(second.status.success(), "{second:?}");
    let told = String::from_utf8(second.stderr).unwrap();
    assert!(told.contains("both the default of one caller"), "{told}");
    let certificates = plane.cli("certs list --profile foo").await;
    assert_eq!(certificates.status.code(), Some(2), "{certificates:?}");
    let none = plane.cli("certs list --issuer 00ff").await;
    let told = String::from_utf8(none.stdout).unwrap();
    assert!(told.contains("--state any"), "{told}");
}
