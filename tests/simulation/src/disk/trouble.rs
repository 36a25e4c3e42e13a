//! What is wrong with the disk of one machine, for a time. It is told to the library below the program
//! (`shim/machine.c`) behind the clock.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use fastrand::Rng;

use crate::machine::CLOCK;

/// Where what is told begins: behind the clock.
const AT: u64 = 8;
/// Bytes of the name of a folder.
const FOLDER: usize = 64;
/// The length of the file: the clock; kind and number, room, delay, folder.
pub(crate) const LENGTH: usize = 8 + 4 + 4 + 8 + 8 + FOLDER;

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It has room for so many bytes more.
    Full(u64),
    /// What is written and synced fails.
    Broken,
    /// An fsync takes so long.
    Slow(Duration),
}

impl Trouble {
    pub(crate) fn drawn(random: &mut Rng) -> Self {
        match random.u8(0..3) {
            0 => Self::Full(random.u64(0..=64 * 1024)),
            1 => Self::Broken,
            _ => Self::Slow(Duration::from_millis(random.u64(1..=4_000))),
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(room) => write!(f, "has room for {room} bytes"),
            Self::Broken => f.write_str("is broken"),
            Self::Slow(delay) => write!(f, "needs {delay:?} for an fsync"),
        }
    }
}

/// The disk that is in trouble, where one is.
#[derive(Debug)]
pub(crate) struct Disks {
    file: File,
    number: u32,
    /// The part of a path that its files have, and what is wrong.
    pub(crate) troubled: Option<(String, Trouble)>,
}

impl Disks {
    pub(crate) fn open() -> io::Result<Self> {
        Ok(Self {
            file: OpenOptions::new().write(true).open(CLOCK)?,
            number: 0,
            troubled: None,
        })
    }

    /// From now on this is wrong with what lies in the folder, or nothing anywhere.
    pub(crate) fn trouble(&mut self, troubled: Option<(String, Trouble)>) -> io::Result<()> {
        self.number += 1;
        self.troubled = troubled;
        self.tell(self.troubled.as_ref())
    }

    /// What the world does to the files goes well, until it goes on.
    pub(crate) fn pause(&self) -> io::Result<()> {
        self.tell(None)
    }

    pub(crate) fn go_on(&self) -> io::Result<()> {
        self.tell(self.troubled.as_ref())
    }

    fn tell(&self, troubled: Option<&(String, Trouble)>) -> io::Result<()> {
        let (kind, room, delay) = match troubled.map(|(_, trouble)| *trouble) {
            None => (0_u32, 0, Duration::ZERO),
            Some(Trouble::Full(room)) => (1, room, Duration::ZERO),
            Some(Trouble::Broken) => (2, 0, Duration::ZERO),
            Some(Trouble::Slow(delay)) => (3, 0, delay),
        };
        let delay = u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX);
        let mut folder = [0; FOLDER];
        let name = troubled
            .map_or("", |(folder, _)| folder.as_str())
            .as_bytes();
        // A zero stays behind it.
        folder[..FOLDER - 1][..name.len()].copy_from_slice(name);
        let mut told = Vec::with_capacity(LENGTH);
        told.extend(kind.to_ne_bytes());
        told.extend(self.number.to_ne_bytes());
        told.extend(room.to_ne_bytes());
        told.extend(delay.to_ne_bytes());
        told.extend(folder);
        self.file.write_all_at(&told, AT)
    }
}
