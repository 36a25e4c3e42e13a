//! The pages of `docs/reference`, which are made from the code.
//!
//! A test makes a page and holds it against the file with [`page`]. So no page says what the code does
//! not, and `make reference` writes all of them again. What only one crate knows, a test of that crate
//! tells; what is read from the sources, `tests/src/reference`.

mod defaults;
mod keys;
mod metrics;
mod table;

use std::fs;
use std::path::{Path, PathBuf};

pub use defaults::other_defaults;
pub use keys::keys;
pub use metrics::{metrics, unlisted};
pub use table::{Table, code, plain, sentence};

/// The variable that lets the tests write the pages.
const BLESS: &str = "COUNTERSIGN_BLESS";

/// What each page begins with, so that nobody mends it by hand.
const NOTE: &str = "<!-- Made from the code: `make reference` writes this page. -->";

/// Holds a page of `docs/reference` against what the code says; with `COUNTERSIGN_BLESS=1` it is
/// written.
///
/// # Panics
/// The page is another one: what differs first, and what to run.
pub fn page(name: &str, text: &str) {
    let path = folder().join(name);
    let text = format!("{NOTE}\n\n{}\n", text.trim_end());
    if std::env::var_os(BLESS).is_some_and(|it| it == "1") {
        fs::create_dir_all(folder()).expect("the folder of the pages can be made");
        fs::write(&path, text).expect("the page can be written");
        return;
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    if let Some(difference) = difference(&written, &text) {
        panic!(
            "{} is not what the code says; run `make reference` and look at what changed\n{difference}",
            path.display()
        );
    }
}

/// A page as it is written.
///
/// # Panics
/// It cannot be read.
pub fn written(name: &str) -> String {
    let path = folder().join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference")
}

/// The first line that differs.
fn difference(written: &str, made: &str) -> Option<String> {
    if written == made {
        return None;
    }
    let (mut written, mut made) = (written.lines(), made.lines());
    for line in 1.. {
        let (old, new) = (written.next(), made.next());
        if old != new || old.is_none() {
            let [old, new] = [old, new].map(|it| it.unwrap_or("(the end)"));
            return Some(format!("line {line}\n  page: {old}\n  code: {new}"));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_difference_is_told() {
        assert_eq!(difference("a\nb\n", "a\nb\n"), None);
        let told = difference("a\nb\n", "a\nc\n").unwrap();
        assert_eq!(told, "line 2\n  page: b\n  code: c");
        let told = difference("", "a\n").unwrap();
        assert!(told.contains("page: (the end)"), "{told}");
        assert!(difference("a\n", "a").is_some(), "the last line counts");
    }

    #[test]
    #[should_panic(expected = "make reference")]
    fn page_that_is_missing_says_what_to_run() {
        page("no-such-page.md", "text");
    }
}
