//! What a page of the documentation names is there.

use std::path::Path;

use crate::binaries;

/// The page of recipes: each of its paths is one from the root of the project.
const RECIPES: &str = "docs/contributing.md";
/// Pages whose commands a story runs, each of them.
const INTEGRATIONS: &str = "docs/integrations";
/// The stories that do.
const RUN: &str = "tests/stories/pages.rs";
/// What is built lies there.
const BUILT: &str = "target";
/// How a file is recognised that lies in no folder.
const EXTENSIONS: &[&str] = &["md", "proto", "py", "rs", "sh", "toml"];

/// What stands in backticks, outside of blocks.
fn code(page: &str) -> Vec<&str> {
    let text = page.split("```").step_by(2);
    text.flat_map(|text| text.split('`').skip(1).step_by(2))
        .collect()
}

/// Whether a piece of code is a path from the root of the project: it begins with a folder that is
/// there.
fn begins_at_the_root(code: &str) -> bool {
    let Some((first, _)) = code.split_once('/') else {
        return false;
    };
    let is_folder = || first != BUILT && binaries::project().join(first).is_dir();
    first.starts_with(char::is_alphanumeric) && is_name(code) && is_folder()
}

/// Whether it is a path at all.
fn is_path(code: &str) -> bool {
    let extension = Path::new(code).extension().and_then(|it| it.to_str());
    let is_file = extension.is_some_and(|it| EXTENSIONS.contains(&it));
    is_name(code) && (code.contains('/') || is_file)
}

/// Neither a command nor a URL, nor an expression of a language.
fn is_name(code: &str) -> bool {
    let may = |c: char| c.is_alphanumeric() || "-_./".contains(c);
    !code.is_empty() && code.chars().all(may)
}

/// Paths that a page names, and that are not there.
fn missing(page: &str, is_wanted: fn(&str) -> bool) -> Vec<&str> {
    let named = code(page).into_iter().filter(|code| is_wanted(code));
    let is_missing = |path: &&str| !binaries::project().join(path).exists();
    named.filter(is_missing).collect()
}

/// Every page but the decisions, which tell what was there.
fn pages() -> Vec<String> {
    let mut pages = vec!["README.md".to_owned()];
    for folder in ["docs", INTEGRATIONS] {
        let names = std::fs::read_dir(binaries::project().join(folder)).unwrap();
        let names = names.map(|it| it.unwrap().file_name().into_string().unwrap());
        let names = names.filter(|name| name.ends_with(".md"));
        pages.extend(names.map(|name| format!("{folder}/{name}")));
    }
    pages
}

fn read(page: &str) -> String {
    std::fs::read_to_string(binaries::project().join(page)).unwrap()
}

#[test]
fn every_path_of_a_page_exists() {
    let pages = pages();
    assert!(pages.len() > 10, "{pages:?}");
    for page in pages {
        let text = read(&page);
        assert_eq!(missing(&text, begins_at_the_root), [""; 0], "{page}");
    }
}

#[test]
fn every_path_of_a_recipe_exists() {
    let text = read(RECIPES);
    let paths = code(&text).into_iter().filter(|code| is_path(code));
    assert!(paths.count() > 50, "the page names its files");
    assert_eq!(missing(&text, is_path), [""; 0]);
}

#[test]
fn every_page_of_integrations_is_run() {
    let stories = read(RUN);
    let pages = pages();
    let pages: Vec<_> = (pages.iter().filter(|page| page.starts_with(INTEGRATIONS))).collect();
    assert!(!pages.is_empty());
    for page in pages {
        assert!(stories.contains(page.as_str()), "no story runs {page}");
    }
}

#[test]
fn planted_path_is_found() {
    let page = "See `docs/none.md`, `core/model/src`, `target/debug`, `make test` and `none.rs`.\n\
                ```console\n$ cat `docs/never.md`\n```\nAnd `Kind::None/x` of `tests/none`.";
    assert_eq!(
        missing(page, begins_at_the_root),
        ["docs/none.md", "tests/none"]
    );
    let page = page.replace("`target/debug`", "what is built");
    assert_eq!(
        missing(&page, is_path),
        ["docs/none.md", "none.rs", "tests/none"]
    );
}
