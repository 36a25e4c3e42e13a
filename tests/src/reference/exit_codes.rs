//! Exit codes: one list for all three programs.

use countersign_cli::Exit;
use countersign_reference::{Table, page, sentence};

const HEAD: &str = "# Exit codes

How `countersign`, `countersign-control-plane` and `countersign-sidecar` end. An error is on stderr, as text
or, with `--json`, as `{\"error\":{\"code\",\"message\",\"remedy\"}}`; [the codes](errors.md). A daemon that is told to
end by SIGTERM or SIGINT, and drains, ends with 0.
";

/// What each means, and what a script does then. Exhaustive: an exit that is added does not compile here.
fn meaning(exit: Exit) -> (&'static str, &'static str) {
    match exit {
        Exit::Yes => ("Yes, or done.", "go on"),
        Exit::No => (
            "A judged no: a certificate does not verify, a log is not sound, a difference was found.",
            "do not trust what was judged",
        ),
        Exit::Usage => (
            "Usage, configuration, or a file or port of this machine that cannot be used.",
            "mend what the message names; trying again changes nothing",
        ),
        Exit::Denied => (
            "Denied by a rule, or not found.",
            "ask for something else, or change the rule; trying again changes nothing",
        ),
        Exit::Unreachable => (
            "Nobody answers, or not in time, or what is asked cannot be done now.",
            "try again later",
        ),
        Exit::Attention => (
            "Something needs attention, as the first line of `countersign status --check` says.",
            "look at what is shown; each thing comes with the command that mends it",
        ),
        Exit::Bug => ("A bug of ours.", "report it with the message"),
    }
}

#[test]
fn page_of_the_exit_codes_follows_the_code() {
    let mut table = Table::new(["Exit code", "What it means", "What to do"]);
    for exit in [
        Exit::Yes,
        Exit::No,
        Exit::Usage,
        Exit::Denied,
        Exit::Unreachable,
        Exit::Attention,
        Exit::Bug,
    ] {
        let (means, remedy) = meaning(exit);
        table.row(&[
            format!("`{}`", exit as u8),
            means.to_owned(),
            sentence(remedy),
        ]);
    }
    page("exit-codes.md", &format!("{HEAD}\n{}", table.finish()));
}
