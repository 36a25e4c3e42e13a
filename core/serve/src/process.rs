//! Hardening of the process itself.

use rustix::fs::Mode;
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit, umask,
};

/// The kernel refused a protection.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what}: {source}")]
pub struct HardenError {
    what: &'static str,
    source: std::io::Error,
}

/// No core dumps, memory not readable by other uids (`PR_SET_DUMPABLE` 0), umask 077. Call first
/// in `main`, before any thread exists.
///
/// # Errors
/// A protection that could not be had; the process should not go on.
pub fn harden_process() -> Result<(), HardenError> {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, none).map_err(refused("forbid core dumps"))?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(refused("close memory to other users"))?;
    umask(Mode::RWXG | Mode::RWXO);
    Ok(())
}

/// Takes all descriptors that the process may have: the usual soft limit of 1 024 is kept for
/// programs that use `select`, and a listener alone may have more connections than that.
///
/// # Errors
/// The kernel refused, though the hard limit allows it.
pub fn raise_descriptor_limit() -> Result<(), HardenError> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).map_err(refused("raise the limit of descriptors"))
}

fn refused(what: &'static str) -> impl FnOnce(rustix::io::Errno) -> HardenError {
    move |errno| HardenError {
        what,
        source: errno.into(),
    }
}

#[cfg(test)]
mod tests;
