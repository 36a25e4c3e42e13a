//! What each of our binaries owes its user: a strict configuration file, one shape for errors,
//! exit codes that scripts can rely on, tables that fold to the terminal.
//!
//! A `main` reads its arguments with [`arguments`], its file with a [`Reader`], and runs inside
//! [`guard`], so that a usage error, a mistake in the file and a bug of ours all end in the same
//! shape and with the exit code that the contract promises.

pub mod completions;
pub mod config;
pub mod distance;
pub mod duration;
pub mod man;
pub mod outcome;
pub mod printable;
pub mod short;
pub mod stdout;
pub mod table;

pub use completions::completions;
pub use config::{ConfigError, Key, Mistake, Reader, Setting};
pub use man::ManPages;
pub use outcome::{Exit, Failure, arguments, guard};
pub use stdout::{print, print_text};
