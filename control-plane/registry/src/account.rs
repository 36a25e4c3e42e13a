//! Who answers for an identity.

use std::collections::BTreeMap;

use countersign_model::{Criticality, Registration};

/// Who answers for an identity, and how much it matters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Account {
    /// A team or a person.
    pub owner: String,
    /// How much it matters.
    pub criticality: Criticality,
    /// What else its owner says of it.
    pub labels: BTreeMap<String, String>,
}

impl Account {
    /// What a registration says of it.
    pub fn of(registration: &Registration) -> Self {
        Self {
            owner: registration.owner.clone(),
            criticality: registration.criticality,
            labels: registration.labels.clone(),
        }
    }
}
