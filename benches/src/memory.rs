//! Memory of a process, as the kernel counts it.

use std::fs;

use anyhow::{Context, Result};

/// Bytes of a mebibyte.
pub const MIB: f64 = 1024.0 * 1024.0;

/// Memory of a process at one moment, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Everything that is resident (`VmRSS`), with the pages of the program itself.
    pub resident: u64,
    /// The most that was ever resident (`VmHWM`), or since [`forget_peak`].
    pub peak: u64,
    /// What is nobody's file: heap and stacks (`RssAnon`).
    pub anonymous: u64,
}

impl Memory {
    /// Looks at a process.
    ///
    /// # Errors
    /// There is no such process.
    pub fn of(pid: u32) -> Result<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        Ok(Self {
            resident: bytes(&status, "VmRSS:")?,
            peak: bytes(&status, "VmHWM:")?,
            anonymous: bytes(&status, "RssAnon:")?,
        })
    }
}

/// The share of a process in what is resident (`Pss`), where pages that others map too count in part.
///
/// # Errors
/// There is no such process.
pub fn proportional(pid: u32) -> Result<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    bytes(&rollup, "Pss:")
}

/// Lets [`Memory::peak`] begin anew.
///
/// # Errors
/// The kernel refuses: it wants root for another's process.
pub fn forget_peak(pid: u32) -> Result<()> {
    let peak = "5";
    fs::write(format!("/proc/{pid}/clear_refs"), peak).context("clear_refs")
}

fn bytes(text: &str, field: &str) -> Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    let kilobytes = line.context("no such field")?.trim();
    let kilobytes: u64 = kilobytes.trim_end_matches(" kB").parse()?;
    Ok(kilobytes * 1024)
}
