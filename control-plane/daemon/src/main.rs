//! The control plane: arguments, configuration, build, run, drain.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use countersign_cli::config::file_or_default;
use countersign_cli::{Exit, Failure, ManPages, man};
use countersign_control_plane::config::{Config, DEFAULT_FILE};
use countersign_control_plane::{app, clock::Clock, config, entropy::OsEntropy};
use countersign_serve::shutdown::Signals;
use countersign_serve::{ServiceManager, harden_process, raise_descriptor_limit};
use countersign_telemetry::{Settings, Telemetry};

/// Many small values, made on one thread and dropped on another: see docs/performance.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Attests nodes, signs SVIDs and streams them to sidecars.
#[derive(Debug, Parser)]
#[command(
    name = "countersign-control-plane",
    version,
    arg_required_else_help = true
)]
struct Arguments {
    /// Print errors, and the result of `config check`, as JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Serve until SIGTERM or SIGINT; SIGHUP is ignored, a new configuration needs a restart
    #[command(
        after_help = "Examples:\n  countersign-control-plane run --config control-plane.toml\n  \
            countersign-control-plane run --config b.toml --join b.invitation    # joins those of store.url"
    )]
    Run {
        #[command(flatten)]
        file: File,
        /// A file, mode 0600, from `countersign replica invite`: join the control planes that share the
        /// database of store.url. Without effect once this one has joined
        #[arg(long, value_name = "FILE")]
        join: Option<PathBuf>,
    },
    /// The configuration file
    #[command(subcommand)]
    Config(ConfigVerb),
    /// Print a completion script
    #[command(after_help = "Example:\n  countersign-control-plane completions bash")]
    Completions {
        /// For which shell
        shell: Shell,
    },
    /// Write the man pages of this program and its verbs
    #[command(
        after_help = "Example:\n  countersign-control-plane man --dir /usr/local/share/man/man8"
    )]
    Man(ManPages),
}

#[derive(Debug, Subcommand)]
enum ConfigVerb {
    /// Read the file, report every mistake, start nothing
    #[command(
        after_help = "Examples:\n  countersign-control-plane config check --config control-plane.toml\n  \
            countersign-control-plane config check --effective --json"
    )]
    Check {
        #[command(flatten)]
        file: File,
        /// Print every key with its value, and whether it is from the file or the default
        #[arg(long)]
        effective: bool,
    },
}

#[derive(Debug, Args)]
struct File {
    /// The configuration file; paths in it are relative to its folder
    /// [default: /etc/countersign/control-plane.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl File {
    fn path(self) -> Result<PathBuf, Failure> {
        file_or_default(self.config, DEFAULT_FILE)
    }
}

fn main() -> ExitCode {
    let arguments: Arguments = match countersign_cli::arguments() {
        Ok(arguments) => arguments,
        Err(exit) => return exit,
    };
    let json = arguments.json;
    countersign_cli::guard(json, || match arguments.verb {
        Verb::Run { file, join } => run(file, join.as_deref()),
        Verb::Config(ConfigVerb::Check { file, effective }) => {
            config::check(&file.path()?, effective, json)
        }
        Verb::Completions { shell } => countersign_cli::completions::<Arguments>(shell),
        Verb::Man(pages) => pages.write::<Arguments>(man::DAEMONS),
    })
}

fn run(file: File, join: Option<&Path>) -> Result<Exit, Failure> {
    harden_process()
        .and_then(|()| raise_descriptor_limit())
        .map_err(|error| failure("not_hardened", &error))?;
    let mut config = Config::read(&file.path()?)?;
    if let Some(invitation) = join {
        config.join(invitation)?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| failure("no_runtime", &error))?;
    runtime.block_on(serve(&config))
}

async fn serve(config: &Config) -> Result<Exit, Failure> {
    let telemetry = Telemetry::install(&Settings {
        service: "countersign-control-plane",
        json: config.log.format.is_json(),
        filter: config.log.filter.clone(),
        otlp_endpoint: config.telemetry.otlp_endpoint.clone(),
    });
    let telemetry = telemetry.map_err(|error| failure("telemetry", &error))?;
    let signals = Signals::listen().map_err(|error| failure("no_signals", &error))?;
    let mut running = app::start(config, Clock::wall(), Arc::new(OsEntropy)).await?;
    running.tell(ServiceManager::of_process());
    let signal = signals.told_to_end().await;
    tracing::info!(signal, "stopping");
    running.drain().await;
    telemetry.shutdown().await;
    Ok(Exit::Yes)
}

fn failure(code: &str, error: &dyn std::error::Error) -> Failure {
    let remedy = "check the limits and permissions of this process, and [log] and [telemetry]";
    Failure::new(Exit::Usage, code, error.to_string(), remedy)
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
        check(&Arguments::command());
    }
}
