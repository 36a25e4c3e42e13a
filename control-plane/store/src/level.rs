//! The level of a database: what may be written to it, since all who use it can read it.
//!
//! Levels are numbered as the schemas are ([`postgres::VERSION`](crate::postgres::VERSION)). A program *speaks*
//! one: it reads everything that is written at that level and below. The level of a database is raised, never
//! lowered, and only where every control plane of it that was not sealed speaks the new one; from then on no
//! program that does not can begin to write. A kind is written at the level that it came with, or above.

use crate::postgres::VERSION;

/// A level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Level(pub i32);

impl Level {
    /// What those speak who say nothing: programs from before there were levels.
    pub const FIRST: Self = Self(1);
    /// What this program speaks.
    pub const OWN: Self = Self(VERSION);
}

/// A database that was just made: nobody older uses it.
impl Default for Level {
    fn default() -> Self {
        Self::OWN
    }
}

/// The level of a database, and who writes to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Levels {
    /// What may be written.
    pub level: Level,
    /// What each control plane that was not sealed speaks, by its name. Nobody where only one writes.
    pub speakers: Vec<(String, Level)>,
}

impl Levels {
    /// What a database is that one program alone writes to.
    pub(crate) fn alone(level: Level) -> Self {
        Self {
            level,
            speakers: Vec::new(),
        }
    }

    /// Who cannot read what would be written at a level.
    pub fn in_the_way(&self, of: Level) -> impl Iterator<Item = &str> {
        let below = self.speakers.iter().filter(move |(_, it)| *it < of);
        below.map(|(name, _)| name.as_str())
    }

    /// What a program speaks that writes under a name.
    pub fn speaks(&self, name: &str) -> Option<Level> {
        let own = self.speakers.iter().find(|(it, _)| it == name);
        own.map(|(_, level)| *level)
    }
}
