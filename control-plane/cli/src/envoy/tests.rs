//! What is written, and what is refused.

use clap::Parser;
use serde_json::Value;

use super::*;

const INBOUND: &str = "bootstrap --id spiffe://example.org/web --listen 127.0.0.1:15006 \
    --upstream 127.0.0.1:8080 --allow spiffe://example.org/client";
const OUTBOUND: &str = "bootstrap --id spiffe://example.org/client --listen 127.0.0.1:15001 \
    --upstream 127.0.0.1:15006 --expect spiffe://example.org/web --admin 127.0.0.1:9902";

#[derive(Parser)]
struct Line {
    #[command(subcommand)]
    verb: Verb,
}

fn read(line: &str) -> Write {
    let words = ["envoy"].into_iter().chain(line.split_whitespace());
    let Verb::Bootstrap(write) = Line::parse_from(words).verb;
    write
}

fn json(line: &str) -> Value {
    read(line).judge(None).unwrap().tree().to_json()
}

fn refusal(line: &str) -> Failure {
    read(line).judge(None).map(|_| ()).expect_err(line)
}

/// The one TLS context of a bootstrap.
fn context(bootstrap: &Value) -> &Value {
    let resources = &bootstrap["static_resources"];
    let inbound = &resources["listeners"][0]["filter_chains"][0]["transport_socket"];
    let outbound = &resources["clusters"][0]["transport_socket"];
    let context = if inbound.is_null() { outbound } else { inbound };
    &context["typed_config"]
}

fn matchers(bootstrap: &Value) -> &Value {
    let common = &context(bootstrap)["common_tls_context"];
    &common["combined_validation_context"]["default_validation_context"]["match_typed_subject_alt_names"]
}

#[test]
fn shipped_bootstraps_are_what_is_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/envoy");
    for (name, line) in [("inbound", INBOUND), ("outbound", OUTBOUND)] {
        let written = read(line).judge(None).unwrap().tree().to_yaml();
        let path = folder.join(format!("{name}.yaml"));
        let shipped = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            shipped == written,
            "countersign envoy {line} -o deploy/envoy/{name}.yaml"
        );
    }
}

#[test]
fn peers_are_exact_identities() {
    let exact = |id: &str| serde_json::json!([{"san_type": "URI", "matcher": {"exact": id}}]);
    assert_eq!(
        *matchers(&json(INBOUND)),
        exact("spiffe://example.org/client")
    );
    assert_eq!(
        *matchers(&json(OUTBOUND)),
        exact("spiffe://example.org/web")
    );
}

#[test]
fn identity_is_always_asked_for() {
    let (line, _) = INBOUND.split_once(" --allow").unwrap();
    let anybody = serde_json::json!([
        {"san_type": "URI", "matcher": {"prefix": "spiffe://example.org/"}},
    ]);
    assert_eq!(*matchers(&json(line)), anybody);
    for line in [INBOUND, line] {
        assert_eq!(context(&json(line))["require_client_certificate"], true);
    }
}

#[test]
fn nothing_is_resumed_and_nothing_older_than_tls_1_3() {
    for line in [INBOUND, OUTBOUND] {
        let bootstrap = json(line);
        let context = context(&bootstrap);
        let versions = &context["common_tls_context"]["tls_params"];
        for end in ["minimum", "maximum"] {
            assert_eq!(
                versions[format!("tls_{end}_protocol_version")],
                "TLSv1_3",
                "{line}"
            );
        }
        let stateless = &context["disable_stateless_session_resumption"];
        let stateful = &context["disable_stateful_session_resumption"];
        let is_off = *stateless == true && *stateful == true;
        assert!(is_off || context["max_session_keys"] == 0, "{line}");
    }
}

#[test]
fn unsafe_and_impossible_combinations_are_refused() {
    let id = "bootstrap --id spiffe://example.org/web";
    let inbound = format!("{id} --listen 127.0.0.1:1 --upstream");
    let expect = "--expect spiffe://example.org/db";
    for (line, code) in [
        (format!("{inbound} 10.0.0.1:80"), "not_loopback"),
        (format!("{inbound} web.example:80"), "not_loopback"),
        (format!("{inbound} 127.0.0.1:1"), "same_address"),
        (format!("{inbound} 127.0.0.1:9901"), "same_address"),
        (
            format!("{inbound} 127.0.0.1:2 --admin 0.0.0.0:9901"),
            "not_loopback",
        ),
        (
            format!("{inbound} 127.0.0.1:2 --admin 127.0.0.1:1"),
            "same_address",
        ),
        (
            format!("{inbound} 127.0.0.1:2 --allow spiffe://other/x"),
            "foreign_peer",
        ),
        (
            format!("{inbound} 127.0.0.1:2 --socket /{}", "x".repeat(107)),
            "socket_path",
        ),
        (
            format!("{id} --listen 0.0.0.0:1 --upstream db:2 {expect}"),
            "not_loopback",
        ),
        (
            "bootstrap --id spiffe://example.org/countersign/x --listen 127.0.0.1:1 \
             --upstream 127.0.0.1:2"
                .to_owned(),
            "reserved_id",
        ),
    ] {
        let refusal = refusal(&line);
        assert_eq!(refusal.code, code, "{line}");
        assert!(!refusal.remedy.is_empty(), "{line}");
    }
}

#[test]
fn socket_is_that_of_the_flag_before_that_of_the_environment() {
    let path = |line: &str, url: Option<&str>| {
        let write = read(line);
        write.judge(url).unwrap().socket.display().to_string()
    };
    let named = format!("{INBOUND} --socket /x.sock");
    let url = Some("unix:///run/y.sock");
    assert_eq!(path(&named, url), "/x.sock");
    assert_eq!(path(INBOUND, url), "/run/y.sock");
    assert_eq!(path(INBOUND, None), SOCKET);
    for url in ["tcp:127.0.0.1:8081", "/run/y.sock", "unix:"] {
        let refused = read(INBOUND).judge(Some(url)).map(drop).unwrap_err();
        assert_eq!(refused.code, "socket_url", "{url}");
        assert!(refused.remedy.contains("--socket"), "{url}");
        assert_eq!(path(&named, Some(url)), "/x.sock", "{url}");
    }
    let relative = format!("{INBOUND} --socket x.sock");
    assert!(Path::new(&path(&relative, None)).is_absolute());
}

#[test]
fn arguments_without_effect_or_shape_get_an_example() {
    let tcp = format!("{INBOUND} --protocol tcp --max-connection-duration 5m");
    assert_eq!(refusal(&tcp).code, "duration_of_tcp");
    for (line, example) in [
        ("--listen 8443", "such as 127.0.0.1:8443"),
        ("--max-connections 0", "a number from 1 to"),
    ] {
        let line = format!("bootstrap --id spiffe://example.org/web --upstream 127.0.0.1:1 {line}");
        let words = ["envoy"].into_iter().chain(line.split_whitespace());
        let error = Line::try_parse_from(words).map(drop).unwrap_err();
        assert!(error.to_string().contains(example), "{error}");
    }
}

#[test]
fn name_of_the_upstream_is_resolved_and_sent() {
    let line = "bootstrap --id spiffe://example.org/client --listen 127.0.0.1:1 \
        --upstream web.example:8443 --expect spiffe://example.org/web --protocol tcp";
    let bootstrap = json(line);
    let cluster = &bootstrap["static_resources"]["clusters"][0];
    assert_eq!(cluster["type"], "LOGICAL_DNS");
    assert_eq!(cluster["dns_lookup_family"], "ALL");
    assert_eq!(context(&bootstrap)["sni"], "web.example");
}
