use clap::CommandFactory;

use super::*;

mod named;

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn every_verb_shows_examples() {
    fn check(command: &clap::Command, path: &str) {
        let path = format!("{path} {}", command.get_name());
        if command.has_subcommands() {
            command
                .get_subcommands()
                .for_each(|verb| check(verb, &path));
        } else {
            let help = command.get_after_help().map(ToString::to_string);
            assert!(help.is_some_and(|help| help.contains("Example")), "{path}");
        }
    }
    check(&Cli::command(), "");
}

/// The verbs of a command without verbs below them, with their paths.
fn leaves(command: &clap::Command) -> Vec<(String, &clap::Command)> {
    let below = command.get_subcommands().flat_map(leaves);
    let mut leaves: Vec<_> = below
        .map(|(path, leaf)| (format!("{} {path}", command.get_name()), leaf))
        .collect();
    if leaves.is_empty() {
        leaves.push((command.get_name().to_owned(), command));
    }
    leaves
}

#[test]
fn every_example_is_understood() {
    let command = Cli::command();
    for (path, leaf) in leaves(&command) {
        let help = leaf.get_after_help().unwrap().to_string();
        let lines = help.replace("\\\n", " ");
        let lines = lines.lines().filter(|line| line.starts_with("  "));
        let ours = lines.filter(|line| line.trim().starts_with("countersign "));
        let mut own = 0;
        for line in ours {
            let words = words(line);
            if let Err(error) = Cli::try_parse_from(&words) {
                panic!("{path}: {line}\n{error}");
            }
            own += usize::from(words.join(" ").starts_with(&path));
        }
        assert!(own > 0, "{path} shows no example of itself");
    }
}

/// The words of the first command of a line, as a shell reads them.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word) = (Vec::new(), None::<String>);
    let mut quote = None;
    for c in line.chars() {
        match (quote, c) {
            (Some(q), _) if q == c => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '|' | '#' | '>' | '<') if word.is_none() => break,
            (None, ' ') => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[test]
fn admin_socket_is_taken_where_it_is_used() {
    let mut command = Cli::command();
    command.build();
    let offline = [
        "audit verify",
        "audit prove",
        "audit tail",
        "restore",
        "store check",
        "store migrate",
        "store copy",
        "envoy bootstrap",
        "man",
        "id check",
        "verify",
        "completions",
        "envoy bootstrap",
        "man",
    ];
    for (path, leaf) in leaves(&command) {
        let path = path.trim_start_matches("countersign ");
        if path.split(' ').any(|word| word == "help") {
            continue;
        }
        let takes = leaf
            .get_arguments()
            .any(|it| it.get_long() == Some("admin-socket"));
        assert_eq!(takes, !offline.contains(&path), "{path}");
    }
}

#[test]
fn global_options_stand_before_and_after_the_verb() {
    for line in [
        "countersign --json --admin-socket /x list",
        "countersign list --json --admin-socket /x",
        "countersign --json --admin-socket /x node list",
        "countersign node --json --admin-socket /x list",
        "countersign node list --json --admin-socket /x",
        "countersign --admin-socket /y --json node list --admin-socket /x",
    ] {
        let cli = Cli::try_parse_from(line.split(' ')).unwrap();
        let json = cli.json;
        let named = match cli.verb {
            Verb::List(Asks { socket, .. }) => socket,
            Verb::Node(AsksOneOf { socket, .. }) => socket,
            other => panic!("{line}: {other:?}"),
        };
        assert!(
            json && named.or(cli.socket).path() == Some("/x".as_ref()),
            "{line}"
        );
    }
}

#[test]
fn bad_arguments_are_refused_before_anything_is_asked() {
    for line in [
        "countersign token create --node example.org",
        "countersign token create --node spiffe://example.org/n --ttl 10",
        "countersign register --id spiffe://example.org/web --node spiffe://example.org/n --owner x",
        "countersign register --id spiffe://example.org/web --node spiffe://example.org/n \
         --owner x --selector uid:1",
        "countersign verify --bundle b --chain c --at noon",
        "countersign register --id spiffe://example.org/web --owner x --by-hand \
         --node spiffe://example.org/n",
        "countersign register --id spiffe://example.org/web --owner x --by-hand \
         --selector unix:uid:1",
        "countersign register --id spiffe://example.org/web --owner x --by-hand --default",
        "countersign register --id spiffe://example.org/web --owner x --by-hand --label env",
        "countersign register --id spiffe://example.org/web --owner x --by-hand \
         --expires-in 1d --expires-at 2027-01-01T00:00:00Z",
        "countersign sign --id spiffe://example.org/web --csr request",
        "countersign sign --id web --csr request --out chain",
        "countersign id check spiffe://example.org/web --admin-socket /x",
    ] {
        let error = Cli::try_parse_from(line.split_whitespace()).expect_err(line);
        assert_eq!(error.exit_code(), Exit::Usage as i32, "{line}");
    }
}

#[test]
fn time_that_is_none_is_answered_with_examples() {
    let register = "countersign register --id spiffe://example.org/web --owner x --by-hand";
    for (arguments, examples) in [
        ("--expires-at tomorrow", "such as 2030-12-31T23:59:59Z"),
        ("--expires-at tomorrow", "--expires-in"),
        ("--expires-at 2030-02-30", "such as 2030-12-31T23:59:59Z"),
        ("--expires-in 30", "such as 90s, 10m, 1h30m or 30d"),
        ("--expires-in 2weeks", "such as 90s, 10m, 1h30m or 30d"),
        ("--x509-ttl 1hour", "such as 90s, 10m, 1h30m or 30d"),
    ] {
        let line = format!("{register} {arguments}");
        let error = Cli::try_parse_from(line.split(' ')).expect_err(&line);
        // What `--json` shows of a usage error.
        let first = error.to_string();
        let first = first.lines().next().unwrap();
        assert!(first.contains(examples), "{first}");
    }
}
