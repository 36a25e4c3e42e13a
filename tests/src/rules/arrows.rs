//! Which crate may know which, and which module: the arrows of the flow run one way.
//!
//! Cargo refuses a circle of crates, and no more: an arrow that runs against the flow, from `issue` to
//! the key stores say, would be one line in a manifest. And within a crate nothing refuses a circle.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use super::source::{Source, production};
use crate::binaries;

/// The crates that daemons are made of, each before those that may depend on it.
const FLOW: &[&str] = &[
    // Shared by both daemons.
    "countersign-model",
    "countersign-cli",
    "countersign-telemetry",
    "countersign-discovery",
    "countersign-verify",
    "countersign-proto",
    "countersign-envoy",
    "countersign-serve",
    // Judges a log from its files, by none of the crates that write one.
    "countersign-audit",
    // The sidecar knows no part of the control plane, and the other way round.
    "countersign-sidecar",
    // The steps of a credential: attested, authorized, linted, logged, signed.
    "countersign-refusal",
    "countersign-attest",
    "countersign-registry",
    "countersign-issue",
    "countersign-tlog",
    "countersign-ca",
    "countersign-keys",
    // Who may have something signed now, and what is out there.
    "countersign-admission",
    "countersign-inventory",
    // Who is connected, and who has which bundle.
    "countersign-fleet",
    // The state, by commits, and the file that all of it goes into.
    "countersign-store",
    "countersign-backup",
    // A state that follows one that was lost.
    "countersign-restore",
    // Through which all that changes is changed.
    "countersign-authority",
    // The operator's command line, and the daemon.
    "countersign-operator",
    "countersign-control-plane",
];
/// The programs: nobody depends on one.
const PROGRAMS: &[&str] = &[
    "countersign-sidecar",
    "countersign-operator",
    "countersign-control-plane",
];
/// Crates that stand outside of both daemons.
const BESIDE: &[&str] = &[
    "countersign-tests",
    "countersign-tests-postgres",
    "countersign-example-client",
    "countersign-issued",
    "countersign-footprint",
    "countersign-logs",
    "countersign-ports",
    "countersign-programs",
    "countersign-reference",
    "countersign-simulation",
    "countersign-fuzz",
    "countersign-benches",
];
/// Crates whose modules still form circles. One that is mended is taken off.
const CIRCLES: &[&str] = &["core/model", "core/serve", "core/verify"];

/// What a crate depends on in production.
type Dependencies = BTreeMap<String, Vec<String>>;

/// Every arrow that runs against the flow.
fn against_the_flow(crates: &Dependencies) -> Vec<String> {
    let place = |name: &str| FLOW.iter().position(|known| *known == name);
    let mut wrong = Vec::new();
    for (name, dependencies) in crates {
        if BESIDE.contains(&name.as_str()) {
            continue;
        }
        let Some(own) = place(name) else {
            wrong.push(format!("{name} has no place in the flow"));
            continue;
        };
        for dependency in dependencies {
            let is_before = place(dependency).is_some_and(|place| place < own);
            if !is_before || PROGRAMS.contains(&dependency.as_str()) {
                wrong.push(format!("{name} depends on {dependency}"));
            }
        }
    }
    wrong
}

fn packages() -> Vec<serde_json::Value> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--format-version=1", "--offline"])
        .current_dir(binaries::project())
        .output()
        .unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

/// Whether a crate needs this one in production: those of tests and of build scripts have a kind.
fn is_production(dependency: &&serde_json::Value) -> bool {
    dependency["kind"].is_null()
}

fn dependencies() -> Dependencies {
    let packages = packages();
    packages
        .iter()
        .map(|package| {
            let needed = package["dependencies"].as_array().unwrap().iter();
            let needed = needed.filter(is_production);
            let names = needed.map(|it| it["name"].as_str().unwrap().to_owned());
            let ours = names.filter(|name| name.starts_with("countersign-"));
            (package["name"].as_str().unwrap().to_owned(), ours.collect())
        })
        .collect()
}

/// Which modules, just below the root of a crate, name which others of it.
type Modules<'s> = BTreeMap<&'s str, BTreeSet<&'s str>>;

/// The crate of a file, the module just below its root, and how deep the file lies below that root.
fn place(path: &str) -> Option<(&str, &str, usize)> {
    let (of, within) = path.split_once("/src/")?;
    let within = within.strip_suffix(".rs")?;
    let within = within.strip_suffix("/mod").unwrap_or(within);
    let module = within.split('/').next()?;
    let is_root = ["lib", "main", "bin"].contains(&module);
    (!is_root).then(|| (of, module, within.matches('/').count()))
}

fn modules(sources: &[Source]) -> BTreeMap<&str, Modules<'_>> {
    let mut crates: BTreeMap<&str, Modules<'_>> = BTreeMap::new();
    for (of, module, _) in sources.iter().filter_map(|source| place(&source.path)) {
        crates.entry(of).or_default().entry(module).or_default();
    }
    for source in sources {
        let Some((of, module, depth)) = place(&source.path) else {
            continue;
        };
        let own = crates.get_mut(of).unwrap();
        let root = "super::".repeat(depth + 1);
        let named = [named(&source.text, "crate::"), named(&source.text, &root)].concat();
        let named = named.into_iter().filter(|name| *name != module);
        let known: Vec<_> = named.filter(|name| own.contains_key(name)).collect();
        own.get_mut(module).unwrap().extend(known);
    }
    crates
}

/// The names that follow a path, one or a list of them.
fn named<'s>(text: &'s str, path: &str) -> Vec<&'s str> {
    let mut names = Vec::new();
    for (at, _) in text.match_indices(path) {
        let before = text[..at].chars().next_back();
        if before.is_some_and(|c| c == ':' || c == '_' || c.is_alphanumeric()) {
            continue;
        }
        let rest = &text[at + path.len()..];
        match rest.strip_prefix('{') {
            Some(list) => {
                let list = list.split(';').next().unwrap_or_default();
                names.extend(list.split([',', '{', '}']).map(|it| first_name(it.trim())));
            }
            None => names.push(first_name(rest)),
        }
    }
    names
}

fn first_name(text: &str) -> &str {
    let end = text.find(|c: char| c != '_' && !c.is_alphanumeric());
    &text[..end.unwrap_or(text.len())]
}

/// The modules that reach themselves.
fn circle<'s>(modules: &Modules<'s>) -> BTreeSet<&'s str> {
    let reaches_itself = |start: &&'s str| {
        let mut seen = BTreeSet::new();
        let mut next: Vec<_> = modules[start].iter().copied().collect();
        while let Some(module) = next.pop() {
            if seen.insert(module) {
                next.extend(&modules[module]);
            }
        }
        seen.contains(start)
    };
    modules.keys().copied().filter(reaches_itself).collect()
}

#[test]
fn no_crate_knows_one_that_comes_after_it() {
    let crates = dependencies();
    assert!(crates.len() > FLOW.len(), "{crates:?}");
    assert_eq!(against_the_flow(&crates), Vec::<String>::new());
    for name in FLOW {
        assert!(crates.contains_key(*name), "{name} is gone");
    }
}

/// What a feature of that name opens makes proofs of nothing.
#[test]
fn no_crate_asks_in_production_for_what_tests_may() {
    let packages = packages();
    let asks = |it: &&serde_json::Value| {
        let features = it["features"].as_array().unwrap().iter();
        features.clone().any(|name| name == "testing")
    };
    let all = packages.iter().flat_map(|package| {
        let needed = package["dependencies"].as_array().unwrap().iter();
        needed.filter(asks).map(move |it| (package, it))
    });
    let (production, tests): (Vec<_>, Vec<_>) = all.partition(|(_, it)| is_production(it));
    assert!(!tests.is_empty(), "the name of the feature is another");
    let names: Vec<_> = production
        .iter()
        .map(|(package, _)| &package["name"])
        .collect();
    assert!(names.is_empty(), "{names:?}");
}

#[test]
fn arrow_against_the_flow_is_found() {
    for (name, dependency, is_wrong) in [
        ("countersign-issue", "countersign-keys", true),
        ("countersign-model", "countersign-verify", true),
        ("countersign-control-plane", "countersign-sidecar", true),
        ("countersign-operator", "countersign-control-plane", true),
        ("countersign-control-plane", "countersign-operator", true),
        ("countersign-audit", "countersign-tlog", true),
        ("countersign-new", "countersign-model", true),
        ("countersign-keys", "countersign-issue", false),
        ("countersign-tests", "countersign-control-plane", false),
    ] {
        let crates = BTreeMap::from([(name.to_owned(), vec![dependency.to_owned()])]);
        assert_eq!(against_the_flow(&crates).is_empty(), !is_wrong, "{name}");
    }
}

#[test]
fn modules_of_a_crate_form_no_circle() {
    let sources = production();
    let mut with_circles = Vec::new();
    for (of, modules) in modules(&sources) {
        let circle = circle(&modules);
        if !circle.is_empty() {
            println!("{of}: {circle:?}");
            with_circles.push(of);
        }
    }
    assert_eq!(with_circles, CIRCLES);
}

#[test]
fn circle_of_modules_is_found() {
    let sources = [
        Source::new("a/src/lib.rs", "mod one; mod two;"),
        Source::new("a/src/one.rs", "use crate::{three, two::Two};"),
        Source::new("a/src/two/deep.rs", "use super::super::one::One;"),
        Source::new("a/src/three.rs", "use one::One; use super::four::Four;"),
        Source::new("a/src/four.rs", "struct Four;"),
    ];
    let crates = modules(&sources);
    assert_eq!(circle(&crates["a"]), BTreeSet::from(["one", "two"]));
}
