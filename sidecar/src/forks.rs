//! Processes that tests start beside each other.
//!
//! Between fork and exec a child holds every descriptor that any thread had open. While it does, a file that a test
//! has just written cannot be run (`ETXTBSY`), and a socket that it closed goes on listening. So one process is
//! started at a time, and none while a test says that it cannot bear it.

use std::io;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

static FORKS: RwLock<()> = RwLock::new(());

/// Until it is dropped no child holds what this test closes. Who has it starts no process.
pub(crate) fn none() -> RwLockReadGuard<'static, ()> {
    FORKS.read().unwrap_or_else(PoisonError::into_inner)
}

/// Returns once the child runs its own program.
pub(crate) fn spawn(command: &mut Command) -> io::Result<Child> {
    let _alone = FORKS.write().unwrap_or_else(PoisonError::into_inner);
    command.spawn()
}

/// What it says until it ends.
pub(crate) fn output(command: &mut Command) -> io::Result<Output> {
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    spawn(command)?.wait_with_output()
}
