//! The level of the database: what may be written to it, since every control plane that uses it reads that.
//!
//! It is raised by an operator, and not by itself: until then the version before can come back.

use std::time::Duration;

use countersign_refusal::Denied;
pub use countersign_store::{Level, Levels};
use tokio::time::timeout;
use tracing::info;

use super::{Authority, AuthorityError};

/// The other things that are done each second do not wait longer for it.
const LOOK_WITHIN: Duration = Duration::from_secs(1);

impl Authority {
    /// What this control plane speaks, and the levels as they were found last.
    pub fn levels(&self) -> (Level, Levels) {
        self.store.levels()
    }

    /// Looks at the levels again. What cannot be read now, as a backup is, is looked at later.
    pub async fn look_at_levels(&self) {
        match timeout(LOOK_WITHIN, self.store.look_at_levels()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "the level of the database is not known"),
            Err(_) => tracing::debug!("the level of the database was not looked at in time"),
        }
    }

    /// Raises the level to what this control plane speaks, and says whether that was so before. From then on no
    /// program that speaks less can use the database.
    ///
    /// # Errors
    /// A control plane speaks less, or the database is away.
    pub async fn raise_level(&self) -> Result<(Levels, bool), AuthorityError> {
        self.store.look_at_levels().await?;
        let (speaks, before) = self.levels();
        let raised = self.store.raise().await?;
        let in_the_way: Vec<_> = raised.in_the_way(speaks).collect();
        if !in_the_way.is_empty() {
            return Err(held_back(&in_the_way, &raised, speaks).into());
        }
        let was_raised = before.level >= speaks;
        if !was_raised {
            info!(
                from = before.level.0,
                to = raised.level.0,
                "level of the database raised"
            );
        }
        Ok((raised, was_raised))
    }
}

fn held_back(names: &[&str], levels: &Levels, speaks: Level) -> Denied {
    let spoken = names.iter().map(|name| {
        let level = levels.speaks(name).unwrap_or(Level::FIRST);
        format!("{name} speaks level {}", level.0)
    });
    let spoken = spoken.collect::<Vec<_>>().join(", ");
    Denied {
        code: "level_held_back",
        message: format!("the level cannot be {}: {spoken}", speaks.0),
        remedy: "install the newer release there and start it; take out one that is gone with `countersign \
                 replica remove`",
    }
}
