use std::collections::BTreeMap;

use countersign_model::{Criticality, RegistrationKey, Selector, SelectorSet};
use proptest::prelude::*;
use proptest::sample::select;

use super::pattern::PatternError;
use super::*;

const HOUR: Duration = Duration::from_secs(3_600);

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

fn id(path: &str) -> SpiffeId {
    SpiffeId::new(&format!("spiffe://example.org{path}")).unwrap()
}

fn paths(patterns: &[&str]) -> Vec<PathPattern> {
    let parse = |text: &&str| PathPattern::parse(text).unwrap();
    patterns.iter().map(parse).collect()
}

fn rule(name: &str, nodes: &[&str], ids: &[&str]) -> Rule {
    Rule {
        name: name.to_owned(),
        scope: Scope::Nodes {
            nodes: paths(nodes),
            attestor: None,
        },
        ids: paths(ids),
        ttl: Duration::from_secs(60)..=HOUR,
        dns: Vec::new(),
        owners: Vec::new(),
        expires_within: None,
    }
}

fn registration(key: RegistrationKey) -> Registration {
    Registration {
        key,
        owner: "team-pay".to_owned(),
        criticality: Criticality::default(),
        labels: BTreeMap::new(),
        x509_ttl: None,
        dns: Vec::new(),
        hint: None,
        is_default: false,
        expires_at: None,
        created_at: now(),
        created_seq: 0,
    }
}

fn on_node(workload: &str, node: &str) -> Registration {
    let selectors = SelectorSet::new([Selector::UnixUid(1)]).unwrap();
    registration(RegistrationKey::on_node(id(workload), id(node), selectors))
}

fn judge(rules: Vec<Rule>, registration: &Registration) -> Result<(), Denied> {
    Policy::new(rules).judge(registration, None, HOUR, now())
}

fn code(rules: Vec<Rule>, registration: &Registration) -> &'static str {
    judge(rules, registration).expect_err("refused").code
}

#[test]
fn without_rules_everything_is_allowed() {
    assert_eq!(judge(Vec::new(), &on_node("/a", "/node/a")), Ok(()));
}

#[test]
fn criticality_is_named_where_the_policy_demands_it() {
    let wanted = on_node("/a", "/node/a");
    let lenient = Policy::default();
    assert_eq!(lenient.judge_criticality(&wanted, false), Ok(()));
    let strict = Policy::default().requiring_criticality(true);
    assert_eq!(strict.judge_criticality(&wanted, true), Ok(()));
    let refused = strict.judge_criticality(&wanted, false).unwrap_err();
    assert_eq!(refused.code, "policy_criticality");
    assert!(refused.message.contains("policy.require_criticality"));
}

#[test]
fn what_no_rule_covers_is_refused() {
    let rules = || vec![rule("pay", &["/node/pay/*"], &["/pay/**"])];
    assert_eq!(judge(rules(), &on_node("/pay/api", "/node/pay/1")), Ok(()));
    for (workload, node) in [
        ("/pay/api", "/node/web/1"),
        ("/pay/api", "/node/pay"),
        ("/pay/api", "/node/pay/1/2"),
        ("/pay/api", "/node/payroll/1"),
        ("/pay", "/node/pay/1"),
        ("/payroll/api", "/node/pay/1"),
        ("/Pay/api", "/node/pay/1"),
        ("/x/pay/api", "/node/pay/1"),
    ] {
        let registration = on_node(workload, node);
        assert_eq!(
            code(rules(), &registration),
            "policy_no_rule",
            "{workload} {node}"
        );
    }
}

#[test]
fn first_rule_that_covers_decides_alone() {
    let mut strict = rule("strict", &["/node/**"], &["/pay/**"]);
    strict.ttl = Duration::from_secs(60)..=Duration::from_secs(600);
    let lax = rule("lax", &["/node/**"], &["/**"]);
    let pay = on_node("/pay/api", "/node/1");
    let refused = judge(vec![strict.clone(), lax.clone()], &pay).unwrap_err();
    assert_eq!(refused.code, "policy_ttl");
    assert!(refused.message.contains("rule strict"), "{refused}");
    assert_eq!(judge(vec![lax.clone(), strict.clone()], &pay), Ok(()));
    assert_eq!(
        judge(vec![strict, lax], &on_node("/web", "/node/1")),
        Ok(())
    );
}

#[test]
fn every_limit_is_kept_and_named() {
    let mut limited = rule("pay", &["/node/*"], &["/pay/**"]);
    limited.dns = vec![
        DnsPattern::parse("*.pay.example.org").unwrap(),
        DnsPattern::parse("pay.example.org").unwrap(),
    ];
    limited.owners = vec!["team-pay".to_owned()];
    limited.expires_within = Some(HOUR * 24);
    let day = jiff::SignedDuration::from_hours(24);
    let mut fine = on_node("/pay/api", "/node/1");
    fine.expires_at = Some(now() + day);
    fine.dns = vec![
        "api.pay.example.org".to_owned(),
        "pay.example.org".to_owned(),
    ];
    assert_eq!(judge(vec![limited.clone()], &fine), Ok(()));

    let code = |change: &dyn Fn(&mut Registration)| {
        let mut wanted = fine.clone();
        change(&mut wanted);
        code(vec![limited.clone()], &wanted)
    };
    assert_eq!(code(&|it| it.owner = "team-web".to_owned()), "policy_owner");
    assert_eq!(code(&|it| it.expires_at = None), "policy_expiry");
    let second = jiff::SignedDuration::from_secs(1);
    assert_eq!(
        code(&|it| it.expires_at = Some(now() + day + second)),
        "policy_expiry"
    );
    for name in [
        "a.api.pay.example.org",
        "apipay.example.org",
        "web.example.org",
        "example.org",
    ] {
        assert_eq!(
            code(&|it| it.dns.push(name.to_owned())),
            "policy_dns",
            "{name}"
        );
    }
    let longer = Policy::new(vec![limited.clone()]).judge(&fine, None, HOUR * 2, now());
    let refused = longer.unwrap_err();
    assert_eq!(
        refused.message,
        "rule pay allows lifetimes of 1m to 1h, not 2h"
    );
}

#[test]
fn by_hand_takes_a_rule_of_its_own() {
    let manual = registration(RegistrationKey::manual(id("/plc")));
    let everywhere = rule("nodes", &["/**"], &["/**"]);
    assert_eq!(code(vec![everywhere.clone()], &manual), "policy_no_rule");
    let mut hand = rule("hand", &["/**"], &["/plc"]);
    hand.scope = Scope::Manual;
    assert_eq!(judge(vec![hand.clone()], &manual), Ok(()));
    assert_eq!(
        code(vec![hand], &on_node("/plc", "/node/1")),
        "policy_no_rule"
    );
}

#[test]
fn rule_for_an_attestor_covers_its_nodes() {
    let mut tokens = rule("tokens", &["/**"], &["/**"]);
    tokens.scope = Scope::Nodes {
        nodes: paths(&["/**"]),
        attestor: Some(Method::JoinToken),
    };
    let policy = Policy::new(vec![tokens]);
    let web = on_node("/web", "/node/1");
    for attestor in [None, Some(Method::JoinToken)] {
        assert_eq!(policy.judge(&web, attestor, HOUR, now()), Ok(()));
    }
}

#[test]
fn patterns_that_could_surprise_are_refused() {
    use PatternError::*;
    let path = |text: &str| PathPattern::parse(text).expect_err(text);
    for text in ["", "pay/**", "*", "**", "spiffe://example.org/pay"] {
        assert_eq!(path(text), NoSlash, "{text}");
    }
    for text in ["/pay*", "/p*y", "/***", "/pay/v*/x", "/pay**"] {
        assert_eq!(path(text), PartOfSegment, "{text}");
    }
    for text in ["/**/pay", "/pay/**/x", "/**/**"] {
        assert_eq!(path(text), ManyBeforeTheEnd, "{text}");
    }
    for text in [
        "/",
        "/pay/",
        "//pay",
        "/pay/../x",
        "/./x",
        "/p%61y",
        "/a b",
        "/ü",
        "/a?",
        "/[a]",
    ] {
        assert!(matches!(path(text), Path(_)), "{text}");
    }
    assert_eq!(path(&format!("/{}", "a".repeat(512))), TooLong);
    for text in [
        "", "*", "**", "*.", "*.*.org", "a.*.org", "*a.org", "Web.org", "***.org", ".org",
    ] {
        assert_eq!(DnsPattern::parse(text).expect_err(text), Dns, "{text}");
    }
}

#[test]
fn dots_in_names_are_literal() {
    let pattern = PathPattern::parse("/v1.2/*").unwrap();
    assert!(pattern.matches("/v1.2/x"));
    assert!(!pattern.matches("/v1x2/x") && !pattern.matches("/v1.2/x/y"));
    let pattern = DnsPattern::parse("*.a.org").unwrap();
    assert!(pattern.matches("x.a.org"));
    assert!(!pattern.matches("xa.org") && !pattern.matches("x.aborg") && !pattern.matches("a.org"));
}

/// What a pattern means, said slowly.
fn means(pattern: &[String], path: &[String]) -> bool {
    match (pattern, path) {
        ([], []) => true,
        ([last], [_, ..]) if last == "**" => true,
        ([wanted, pattern @ ..], [there, path @ ..]) => {
            (wanted == "*" || wanted == there) && means(pattern, path)
        }
        _ => false,
    }
}

/// What a policy means, said slowly: the index of the rule that decides.
fn decides(rules: &[(Vec<String>, Vec<String>)], node: &[String], id: &[String]) -> Option<usize> {
    let covering = rules.iter().enumerate();
    let mut covering = covering.filter(|(_, (nodes, ids))| means(nodes, node) && means(ids, id));
    covering.next().map(|(index, _)| index)
}

fn written(segments: &[String]) -> String {
    segments
        .iter()
        .map(|segment| format!("/{segment}"))
        .collect()
}

prop_compose! {
    fn path()(segments in prop::collection::vec(select(vec!["a", "b", "ab", "a.b", "a-"]), 1..4)) -> Vec<String> {
        segments.into_iter().map(str::to_owned).collect()
    }
}

prop_compose! {
    fn pattern()(
        segments in prop::collection::vec(select(vec!["a", "b", "ab", "a.b", "*"]), 0..3),
        last in select(vec!["a", "b", "*", "**"]),
    ) -> Vec<String> {
        segments.into_iter().chain([last]).map(str::to_owned).collect()
    }
}

proptest! {
    #[test]
    fn patterns_mean_what_they_say(pattern in pattern(), path in path()) {
        let parsed = PathPattern::parse(&written(&pattern)).unwrap();
        prop_assert_eq!(parsed.matches(&written(&path)), means(&pattern, &path));
    }

    #[test]
    fn policy_decides_as_its_model(
        rules in prop::collection::vec((pattern(), pattern()), 1..6),
        node in path(),
        workload in path(),
    ) {
        let parsed = rules.iter().enumerate().map(|(index, (nodes, ids))| {
            let mut one = rule(&index.to_string(), &[&written(nodes)], &[&written(ids)]);
            // Every second rule allows no lifetime that is asked for, and says its name.
            if index % 2 == 1 {
                one.ttl = Duration::from_secs(20)..=Duration::from_secs(30);
            }
            one
        });
        let outcome = judge(parsed.collect(), &on_node(&written(&workload), &written(&node)));
        match decides(&rules, &node, &workload) {
            None => prop_assert_eq!(outcome.unwrap_err().code, "policy_no_rule"),
            Some(index) if index % 2 == 0 => prop_assert_eq!(outcome, Ok(())),
            Some(index) => {
                let refused = outcome.unwrap_err();
                prop_assert_eq!(refused.code, "policy_ttl");
                let named = format!("rule {index} ");
                prop_assert!(refused.message.starts_with(&named), "{}", refused);
            }
        }
    }

    #[test]
    fn any_text_is_judged(text in ".{0,60}", path in "[a-z/.*]{0,30}") {
        if let Ok(pattern) = PathPattern::parse(&text) {
            let _ = pattern.matches(&path);
            prop_assert_eq!(pattern.to_string(), text);
        }
        if let Ok(pattern) = DnsPattern::parse(&path) {
            let _ = pattern.matches(&path);
        }
    }
}
