//! `docs/lint.md` and the rules say the same.

use super::*;

/// The rows of the tables in the page: cells without blanks and backticks.
fn rows() -> Vec<Vec<String>> {
    let page = include_str!("../../../../../docs/lint.md");
    let cells = |line: &str| {
        let cells = line.trim_matches('|').split('|');
        cells.map(|cell| cell.trim().replace('`', "")).collect()
    };
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    rows.map(cells).collect()
}

#[test]
fn the_page_lists_every_rule_and_no_other() {
    let of = |rule: &Rule| match rule.of {
        Of::All => "all",
        Of::Leaves => "leaves",
    };
    let rules = RULES
        .iter()
        .map(|rule| vec![rule.name, of(rule), rule.section]);
    let unreadable = vec![UNREADABLE.rule, "all", UNREADABLE.section];
    let rules: Vec<_> = std::iter::once(unreadable).chain(rules).collect();
    let written = rows();
    let written: Vec<Vec<&str>> = written
        .iter()
        .filter(|row| row.len() == 4)
        .map(|row| [&row[0], &row[1], &row[2]].map(String::as_str).to_vec())
        .collect();
    assert_eq!(written, rules);
}
