//! What is read from a page.

use super::*;

fn read(text: &str) -> Vec<Step> {
    steps(text).unwrap()
}

fn run(text: &str, prints: &[&str]) -> Command {
    Command {
        text: text.to_owned(),
        prints: prints.iter().map(|&line| line.to_owned()).collect(),
        fails: false,
        until: false,
    }
}

fn file(name: &str, text: &str, append: bool) -> Step {
    let (name, text) = (name.to_owned(), text.to_owned());
    Step::File { name, text, append }
}

#[test]
fn commands_have_what_they_print() {
    let page = "```console\n$ one\nfirst\n  second\n$ two \\\n    more\n$ three &\n```\n";
    let expected = [
        run("one", &["first", "  second"]),
        run("two \\\n    more", &[]),
        run("three &", &[]),
    ];
    assert_eq!(read(page), expected.map(Step::Run));
}

#[test]
fn here_document_belongs_to_its_command() {
    let page = "```console\n$ cat > f <<'EOF'\n$ x\nEOF\nprinted\n```\n";
    let expected = run("cat > f <<'EOF'\n$ x\nEOF", &["printed"]);
    assert_eq!(read(page), [Step::Run(expected)]);
}

#[test]
fn block_behind_the_name_of_a_file_is_written() {
    let page = "Write `a.toml`:\n\n```toml\nx = 1\n```\n\n```json\n{}\n```\n\
                <!-- run: append a.toml -->\n```toml\ny = 2\n```\n";
    let expected = [
        file("a.toml", "x = 1\n", false),
        file("a.toml", "y = 2\n", true),
    ];
    assert_eq!(read(page), expected);
}

#[test]
fn marks_say_what_is_not_done_as_it_is() {
    let page = "<!-- run: no, it takes a day -->\n```console\n$ never\n```\n\
                <!-- run: until -->\n```console\n$ look\nthere\n```\n\
                ```console\n$ knock  # fails: nobody is there\n```\n";
    let until = Command {
        until: true,
        ..run("look", &["there"])
    };
    let fails = Command {
        fails: true,
        ..run("knock  # fails: nobody is there", &[])
    };
    assert_eq!(read(page), [until, fails].map(Step::Run));
}

#[test]
fn unknown_mark_is_refused() {
    let told = steps("<!-- run: twice -->\n```console\n$ x\n```\n").unwrap_err();
    assert!(told.to_string().contains("run: twice"), "{told}");
}

#[test]
fn section_ends_with_the_next_of_its_level() {
    let page =
        "# Title\nno\n## One\nyes\n### Below\nyes too\n```console\n# comment\n```\n## Two\nno\n";
    let found = section(page, "One").unwrap();
    assert_eq!(
        found,
        "yes\n### Below\nyes too\n```console\n# comment\n```\n"
    );
    assert_eq!(section(page, "None"), None);
}
