use clap::CommandFactory;

use super::*;

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

#[test]
fn global_options_stand_before_and_after_the_verb() {
    for line in [
        "countersign --json --admin-socket /x list",
        "countersign list --json --admin-socket /x",
    ] {
        let cli = Cli::try_parse_from(line.split(' ')).unwrap();
        assert!(cli.json && cli.admin_socket == Some("/x".into()), "{line}");
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
    ] {
        let error = Cli::try_parse_from(line.split_whitespace()).expect_err(line);
        assert_eq!(error.exit_code(), Exit::Usage as i32, "{line}");
    }
}
