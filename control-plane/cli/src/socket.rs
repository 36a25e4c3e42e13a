//! Which socket the control plane answers on: the one that is named, or the first that is there of
//! the places where one usually is.
//!
//! A socket of the current folder is found, and not named: whoever made the folder may have put it
//! there. It is asked only where it is root's or our own, and nobody else can exchange it.

use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use countersign_cli::{Exit, Failure};
use countersign_serve::unix::Trust;

const VARIABLE: &str = "COUNTERSIGN_ADMIN_SOCKET";

/// Where a control plane that was started by hand in this folder has it, and where those of a
/// package may.
const PLACES: [(&str, Trust); 3] = [
    ("./cp/admin.sock", Trust::Found),
    ("/run/countersign/control-plane/admin.sock", Trust::Named),
    (
        "/var/lib/countersign/control-plane/admin.sock",
        Trust::Named,
    ),
];

/// The socket that the user named on the command line.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Named {
    /// The control plane's admin socket [env: COUNTERSIGN_ADMIN_SOCKET] [default: the first that is
    /// there of ./cp/admin.sock, /run/countersign/control-plane/admin.sock and
    /// /var/lib/countersign/control-plane/admin.sock]
    #[arg(long, global = true, value_name = "PATH")]
    admin_socket: Option<PathBuf>,
}

impl Named {
    /// A path that was named, or none.
    pub(crate) fn new(admin_socket: Option<PathBuf>) -> Self {
        Self { admin_socket }
    }

    /// This one, where it names any.
    pub(crate) fn or(self, other: Option<PathBuf>) -> Self {
        Self::new(self.admin_socket.or(other))
    }

    /// The path, where one was named.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.admin_socket.as_deref()
    }
}

/// A verb that asks a control plane.
#[derive(Debug, Args)]
pub(crate) struct Asks<V: Args> {
    #[command(flatten)]
    pub(crate) socket: Named,
    #[command(flatten)]
    pub(crate) verb: V,
}

/// A group of verbs that all ask a control plane.
#[derive(Debug, Args)]
pub(crate) struct AsksOneOf<V: Subcommand> {
    #[command(flatten)]
    pub(crate) socket: Named,
    #[command(subcommand)]
    pub(crate) verb: V,
}

/// A socket, and how far it is trusted.
#[derive(Debug, PartialEq)]
pub(crate) struct Place {
    pub(crate) path: PathBuf,
    pub(crate) trust: Trust,
}

/// Where to connect: the flag, then the variable, then the first that is there.
///
/// # Errors
/// Nothing was named, and none is there.
pub(crate) fn find(named: &Named) -> Result<Place, Failure> {
    first(named, std::env::var_os(VARIABLE), is_there)
}

fn first(
    named: &Named,
    variable: Option<OsString>,
    is_there: impl Fn(&Path) -> bool,
) -> Result<Place, Failure> {
    let variable = variable.filter(|value| !value.is_empty());
    let named = named.path().map(Path::to_owned);
    if let Some(path) = named.or(variable.map(PathBuf::from)) {
        let trust = Trust::Named;
        return Ok(Place { path, trust });
    }
    let mut places = PLACES
        .into_iter()
        .map(|(path, trust)| (PathBuf::from(path), trust));
    let there = places.find(|(path, _)| is_there(path));
    let (path, trust) = there.ok_or_else(nowhere)?;
    Ok(Place { path, trust })
}

/// What may not be looked at may be there: connecting says why it is of no use.
fn is_there(path: &Path) -> bool {
    let absent = |kind| matches!(kind, ErrorKind::NotFound | ErrorKind::NotADirectory);
    match fs::metadata(path) {
        Ok(_) => true,
        Err(error) => !absent(error.kind()),
    }
}

fn nowhere() -> Failure {
    let [first, second, third] = PLACES.map(|(path, _)| path);
    Failure::new(
        Exit::Unreachable,
        "no_admin_socket",
        format!(
            "no control plane's socket was found: neither {first} nor {second} nor {third} is there"
        ),
        format!(
            "start the control plane, or name its socket with --admin-socket or {VARIABLE}: it is \
             admin.socket of its configuration"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(flag: Option<&str>, variable: Option<&str>, there: &[&str]) -> Result<Place, Failure> {
        let named = Named::new(flag.map(PathBuf::from));
        let is_there = |path: &Path| there.iter().any(|it| Path::new(it) == path);
        first(&named, variable.map(OsString::from), is_there)
    }

    fn place(path: &str, trust: Trust) -> Place {
        let path = PathBuf::from(path);
        Place { path, trust }
    }

    #[test]
    fn flag_then_variable_then_what_is_there() {
        let [here, run, lib] = PLACES.map(|(path, _)| path);
        let all = [here, run, lib];
        for (flag, variable, there, expected) in [
            (
                Some("/flag"),
                Some("/var"),
                &all[..],
                ("/flag", Trust::Named),
            ),
            (None, Some("/var"), &all, ("/var", Trust::Named)),
            (None, Some(""), &all, (here, Trust::Found)),
            (None, None, &all, (here, Trust::Found)),
            (None, None, &all[1..], (run, Trust::Named)),
            (None, None, &all[2..], (lib, Trust::Named)),
        ] {
            let found = found(flag, variable, there).unwrap();
            assert_eq!(found, place(expected.0, expected.1));
        }
    }

    #[test]
    fn where_none_is_all_that_were_tried_are_named() {
        let failure = found(None, None, &[]).unwrap_err();
        assert_eq!(failure.exit, Exit::Unreachable);
        for (path, _) in PLACES {
            assert!(failure.message.contains(path), "{failure}");
        }
        for way in ["--admin-socket", VARIABLE, "admin.socket"] {
            assert!(failure.remedy.contains(way), "{}", failure.remedy);
        }
    }

    #[test]
    fn help_names_every_place() {
        use clap::Args as _;
        let command = Named::augment_args(clap::Command::new("x"));
        let argument = command.get_arguments().next().unwrap();
        let help = argument.get_help().unwrap().to_string();
        for (path, _) in PLACES {
            assert!(help.contains(path), "{help}");
        }
        assert!(help.contains(VARIABLE), "{help}");
    }
}
