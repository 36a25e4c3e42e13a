//! `countersign-sidecar`: arguments, configuration, run.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use countersign_cli::config::{self, file_or_default};
use countersign_cli::table::look::Wide;
use countersign_cli::{Exit, Failure, ManPages, arguments, completions, guard, man, print_text};
use countersign_serve::{harden_process, raise_descriptor_limit};
use countersign_sidecar::{Config, DEFAULT_FILE, Report};

/// Holds the keys of this machine's workloads, hands them out and carries their mTLS.
#[derive(Parser)]
#[command(
    name = "countersign-sidecar",
    version,
    after_help = "Examples:\n  \
        countersign-sidecar config check --config sidecar.toml\n  \
        countersign-sidecar run --config sidecar.toml\n  \
        countersign-sidecar status --config sidecar.toml --json"
)]
struct Cli {
    /// Print JSON: results on stdout, errors on stderr.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Run the sidecar until SIGTERM or SIGINT. SIGHUP is ignored: a new configuration needs a restart.
    #[command(after_help = "Example:\n  countersign-sidecar run --config sidecar.toml")]
    Run(File),
    /// Show what a running sidecar holds, until when, and why not. Exit 4 if none runs.
    #[command(
        after_help = "Examples:\n  countersign-sidecar status --config sidecar.toml\n  \
            countersign-sidecar status --config sidecar.toml --wide\n  \
            countersign-sidecar status --config sidecar.toml --json"
    )]
    Status {
        #[command(flatten)]
        file: File,
        /// Every row; otherwise the first 100 of each table, those with a problem first.
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        wide: Wide,
    },
    /// Work with the configuration file.
    #[command(subcommand)]
    Config(ConfigVerb),
    /// Print a completion script.
    #[command(after_help = "Example:\n  countersign-sidecar completions bash")]
    Completions {
        /// For which shell.
        shell: Shell,
    },
    /// Write the man pages of this program and its verbs.
    #[command(after_help = "Example:\n  countersign-sidecar man --dir /usr/local/share/man/man8")]
    Man(ManPages),
}

#[derive(Subcommand)]
enum ConfigVerb {
    /// Report every mistake of the file; start nothing.
    #[command(
        after_help = "Examples:\n  countersign-sidecar config check --config sidecar.toml\n  \
            countersign-sidecar config check --effective --json"
    )]
    Check {
        #[command(flatten)]
        file: File,
        /// Print every key with its value, and whether it is from the file or the default.
        #[arg(long)]
        effective: bool,
    },
}

#[derive(Args)]
struct File {
    /// The configuration file; relative paths in it start at its folder
    /// [default: /etc/countersign/sidecar.toml].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl File {
    fn path(self) -> Result<PathBuf, Failure> {
        file_or_default(self.config, DEFAULT_FILE)
    }
}

fn main() -> ExitCode {
    let cli = match arguments::<Cli>() {
        Ok(cli) => cli,
        Err(exit) => return exit,
    };
    let json = cli.json;
    guard(json, || match cli.verb {
        Verb::Run(file) => run(&file.path()?),
        Verb::Status { file, all, wide } => {
            let report = status_of(&file.path()?)?;
            let text = match json {
                true => serde_json::to_string(&report).expect("plain data serializes"),
                false => countersign_sidecar::render_status(&report, wide.look(), all).to_string(),
            };
            print_text(&text)?;
            Ok(Exit::Yes)
        }
        Verb::Config(ConfigVerb::Check { file, effective }) => {
            check(&file.path()?, effective, json)
        }
        Verb::Completions { shell } => completions::<Cli>(shell),
        Verb::Man(pages) => pages.write::<Cli>(man::DAEMONS),
    })
}

fn run(file: &Path) -> Result<Exit, Failure> {
    // Before any thread exists, and before any key is read.
    harden_process()
        .and_then(|()| raise_descriptor_limit())
        .map_err(|error| {
            let remedy = "run it with the rights to do so";
            Failure::new(Exit::Bug, "harden", error.to_string(), remedy)
        })?;
    runtime()?.block_on(countersign_sidecar::run(Config::load(file)?))
}

fn check(file: &Path, effective: bool, json: bool) -> Result<Exit, Failure> {
    let (_, settings) = Config::load_with_settings(file)?;
    if effective {
        return config::check(file, &settings, json);
    }
    let text = match json {
        true => r#"{"valid":true}"#.to_owned(),
        false => format!("{} is valid", file.display()),
    };
    print_text(&text)?;
    Ok(Exit::Yes)
}

fn status_of(file: &Path) -> Result<Report, Failure> {
    let config = Config::load(file)?;
    runtime()?.block_on(countersign_sidecar::fetch_status(&config.state_dir))
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Runtime::new()
        .map_err(|error| Failure::new(Exit::Unreachable, "runtime", error.to_string(), ""))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn check(command: &clap::Command) {
        command.get_subcommands().for_each(check);
        let help = command.get_after_help().map(ToString::to_string);
        let shows = help.is_some_and(|help| help.contains("Example"));
        let name = command.get_name();
        assert!(
            shows || command.has_subcommands(),
            "{name} shows no example"
        );
    }

    #[test]
    fn every_verb_shows_examples() {
        check(&Cli::command());
    }
}
