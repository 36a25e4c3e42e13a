//! What each of our binaries owes its user: a strict configuration file, one shape for errors,
//! exit codes that scripts can rely on.

pub mod config;
pub mod outcome;

pub use config::{ConfigError, Mistake, Reader};
pub use outcome::{Exit, Failure};
