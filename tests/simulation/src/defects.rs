//! Defects that are planted on purpose, so that what judges a run is seen to fail.

/// What is wrong with the machine, or with what an operator is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// The writer of the issuance log acknowledges entries that are not on the disk.
    LogNotSynced,
    /// The database acknowledges commits that are not on the disk.
    DatabaseNotSynced,
    /// The control plane starts again with its disk as it was at the start before.
    OlderDisk,
    /// A change is acknowledged while it is made.
    AcknowledgedEarly,
}

/// The variable that names a defect of the world to a run.
const DEFECT: &str = "SIMULATION_DEFECT";

impl Defect {
    /// Every defect, and its name.
    pub const ALL: &[(&str, Self)] = &[
        ("log_not_synced", Self::LogNotSynced),
        ("database_not_synced", Self::DatabaseNotSynced),
        ("older_disk", Self::OlderDisk),
        ("acknowledged_early", Self::AcknowledgedEarly),
    ];

    /// The defect that this run was begun with, where the world has it.
    pub(crate) fn of_run() -> Option<Self> {
        let named = std::env::var(DEFECT).ok()?;
        let known = Self::ALL.iter().find(|(name, _)| *name == named);
        known.map(|(_, defect)| *defect)
    }

    /// How a run is told. Threads are known by their names, of which the kernel keeps fifteen bytes.
    pub(crate) fn environment(self) -> (&'static str, &'static str) {
        match self {
            Self::LogNotSynced => ("SIMULATION_FORGETS", "issuance-log"),
            Self::DatabaseNotSynced => ("SIMULATION_FORGETS", "sqlx-sqlite"),
            Self::OlderDisk | Self::AcknowledgedEarly => {
                let name = Self::ALL.iter().find(|(_, defect)| *defect == self);
                (DEFECT, name.map_or("", |(name, _)| name))
            }
        }
    }
}
