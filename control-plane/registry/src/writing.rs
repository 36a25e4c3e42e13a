//! What becomes of a registration that is written where there may be one already, and what differs
//! afterwards. Pure: the decision is made under the lock of whoever writes, so that two operators who
//! write different fields at a time keep both.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use countersign_model::{Criticality, Registration};
use countersign_refusal::Denied;

/// How a registration is written over one with the same key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// These fields are written, each whole; the others stay as they are.
    Merge(BTreeSet<Field>),
    /// It is written whole.
    Replace,
    /// It is written where there is none.
    Create,
}

/// A part of a registration that can be written by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Field {
    /// Who answers for it.
    Owner,
    /// How much it matters.
    Criticality,
    /// What it is found by.
    Labels,
    /// Lifetime of its certificates.
    X509Ttl,
    /// DNS names.
    Dns,
    /// The name by which a workload tells it.
    Hint,
    /// Whether it is the default.
    Default,
    /// When it ends.
    Expiry,
}

impl Field {
    /// Every field, in the order in which changes are told.
    pub const ALL: [Self; 8] = [
        Self::Owner,
        Self::Criticality,
        Self::Labels,
        Self::X509Ttl,
        Self::Dns,
        Self::Hint,
        Self::Default,
        Self::Expiry,
    ];

    /// Its name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Criticality => "criticality",
            Self::Labels => "labels",
            Self::X509Ttl => "x509_ttl",
            Self::Dns => "dns",
            Self::Hint => "hint",
            Self::Default => "default",
            Self::Expiry => "expires_at",
        }
    }

    /// Whether certificates say it: those from before say something else.
    pub fn is_certified(self) -> bool {
        matches!(self, Self::Dns | Self::X509Ttl)
    }

    fn differs(self, one: &Registration, other: &Registration) -> bool {
        match self {
            Self::Owner => one.owner != other.owner,
            Self::Criticality => one.criticality != other.criticality,
            Self::Labels => one.labels != other.labels,
            Self::X509Ttl => one.x509_ttl != other.x509_ttl,
            Self::Dns => one.dns != other.dns,
            Self::Hint => one.hint != other.hint,
            Self::Default => one.is_default != other.is_default,
            Self::Expiry => one.expires_at != other.expires_at,
        }
    }

    fn write(self, to: &mut Registration, from: &Registration) {
        match self {
            Self::Owner => to.owner.clone_from(&from.owner),
            Self::Criticality => to.criticality = from.criticality,
            Self::Labels => to.labels.clone_from(&from.labels),
            Self::X509Ttl => to.x509_ttl = from.x509_ttl,
            Self::Dns => to.dns.clone_from(&from.dns),
            Self::Hint => to.hint.clone_from(&from.hint),
            Self::Default => to.is_default = from.is_default,
            Self::Expiry => to.expires_at = from.expires_at,
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name that no field has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a field is owner, criticality, labels, x509_ttl, dns, hint, default or expires_at")]
pub struct NoField;

impl FromStr for Field {
    type Err = NoField;
    fn from_str(name: &str) -> Result<Self, NoField> {
        let mut all = Self::ALL.into_iter();
        all.find(|field| field.as_str() == name).ok_or(NoField)
    }
}

/// A registration as it is written over another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// What there is afterwards.
    pub registration: Registration,
    /// What there was.
    pub before: Option<Registration>,
    /// The fields that differ: from what a registration has where nothing is said, if there was none.
    pub changed: Vec<Field>,
}

impl Written {
    /// What becomes of a registration that is wanted. It keeps the age of what was there.
    ///
    /// # Errors
    /// It is to be created, and there is one.
    pub fn of(
        wanted: Registration,
        mode: &Mode,
        before: Option<&Registration>,
    ) -> Result<Self, Denied> {
        let Some(before) = before else {
            let changed = changed(&blank(&wanted), &wanted);
            return Ok(Self {
                registration: wanted,
                before: None,
                changed,
            });
        };
        let registration = match mode {
            Mode::Create => return Err(already_registered(before)),
            Mode::Replace => Registration {
                created_at: before.created_at,
                created_seq: before.created_seq,
                ..wanted
            },
            Mode::Merge(fields) => {
                let mut merged = before.clone();
                let fields = fields.iter();
                fields.for_each(|field| field.write(&mut merged, &wanted));
                merged
            }
        };
        Ok(Self {
            changed: changed(before, &registration),
            registration,
            before: Some(before.clone()),
        })
    }

    /// Whether nothing is to be written.
    pub fn is_unchanged(&self) -> bool {
        self.before.is_some() && self.changed.is_empty()
    }
}

fn changed(before: &Registration, after: &Registration) -> Vec<Field> {
    let all = Field::ALL.into_iter();
    all.filter(|field| field.differs(before, after)).collect()
}

/// With the same key and age, and nothing said.
fn blank(registration: &Registration) -> Registration {
    Registration {
        key: registration.key.clone(),
        owner: String::new(),
        criticality: Criticality::default(),
        labels: Default::default(),
        x509_ttl: None,
        dns: Vec::new(),
        hint: None,
        is_default: false,
        expires_at: None,
        created_at: registration.created_at,
        created_seq: registration.created_seq,
    }
}

fn already_registered(before: &Registration) -> Denied {
    Denied {
        code: "already_registered",
        message: format!("{} is registered already", before.key),
        remedy: "see it with `countersign list`; without --create it is changed",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use countersign_model::{Hint, RegistrationKey, SpiffeId};
    use jiff::Timestamp;
    use proptest::prelude::*;
    use proptest::sample::{select, subsequence};

    use super::*;

    prop_compose! {
        fn registration()(
            owner in select(vec!["me", "you"]),
            criticality in select(vec![Criticality::Low, Criticality::Standard]),
            labels in prop::collection::btree_map("[ab]", "[xy]", 0..3),
            ttl in prop::option::of(20_u64..22),
            dns in prop::collection::vec(select(vec!["a.org".to_owned(), "b.org".to_owned()]), 0..3),
            hint in prop::option::of("[hi]"),
            is_default in any::<bool>(),
            end in prop::option::of(0_i64..2),
            age in 0_u64..3,
        ) -> Registration {
            let moment = |secs| Timestamp::from_second(secs).unwrap();
            Registration {
                key: RegistrationKey::manual(SpiffeId::new("spiffe://example.org/web").unwrap()),
                owner: owner.to_owned(),
                criticality,
                labels,
                x509_ttl: ttl.map(Duration::from_secs),
                dns,
                hint: hint.map(|hint| Hint::try_from(hint).unwrap()),
                is_default,
                expires_at: end.map(moment),
                created_at: moment(1_000 + i64::try_from(age).unwrap()),
                created_seq: age,
            }
        }
    }

    fn fields() -> impl Strategy<Value = BTreeSet<Field>> {
        subsequence(Field::ALL.to_vec(), 0..=8).prop_map(|some| some.into_iter().collect())
    }

    fn said(registration: &Registration) -> Vec<Field> {
        changed(&blank(registration), registration)
    }

    proptest! {
        #[test]
        fn merge_writes_what_is_given_and_nothing_else(
            wanted in registration(),
            before in registration(),
            given in fields(),
        ) {
            let merge = Mode::Merge(given.clone());
            let written = Written::of(wanted.clone(), &merge, Some(&before)).unwrap();
            for field in Field::ALL {
                let source = if given.contains(&field) { &wanted } else { &before };
                prop_assert!(!field.differs(&written.registration, source), "{field}");
                let differs = field.differs(&written.registration, &before);
                prop_assert_eq!(written.changed.contains(&field), differs);
            }
            prop_assert_eq!(written.registration.created_seq, before.created_seq);
            let again = Written::of(wanted, &merge, Some(&written.registration)).unwrap();
            prop_assert!(again.is_unchanged(), "a merge is idempotent");
            prop_assert_eq!(again.registration, written.registration);
        }

        #[test]
        fn merge_of_nothing_changes_nothing(wanted in registration(), before in registration()) {
            let nothing = Mode::Merge(BTreeSet::new());
            let written = Written::of(wanted, &nothing, Some(&before)).unwrap();
            prop_assert!(written.is_unchanged());
            prop_assert_eq!(written.registration, before);
        }

        #[test]
        fn merge_of_everything_replaces(wanted in registration(), before in registration()) {
            let everything = Mode::Merge(Field::ALL.into());
            let merged = Written::of(wanted.clone(), &everything, Some(&before)).unwrap();
            let replaced = Written::of(wanted.clone(), &Mode::Replace, Some(&before)).unwrap();
            prop_assert_eq!(&merged, &replaced);
            prop_assert_eq!(said(&replaced.registration), said(&wanted));
        }

        #[test]
        fn all_create_on_an_empty_place(wanted in registration(), given in fields()) {
            let created = Written::of(wanted.clone(), &Mode::Create, None).unwrap();
            prop_assert_eq!(&created.registration, &wanted);
            prop_assert_eq!(&created.changed, &said(&wanted));
            prop_assert!(!created.is_unchanged());
            for mode in [Mode::Replace, Mode::Merge(given)] {
                prop_assert_eq!(&Written::of(wanted.clone(), &mode, None).unwrap(), &created);
            }
        }

        #[test]
        fn create_never_writes_over_another(wanted in registration(), before in registration()) {
            let refused = Written::of(wanted, &Mode::Create, Some(&before)).unwrap_err();
            prop_assert_eq!(refused.code, "already_registered");
        }
    }

    #[test]
    fn fields_are_read_by_their_names() {
        for field in Field::ALL {
            assert_eq!(field.to_string().parse(), Ok(field));
        }
        assert_eq!("id".parse::<Field>(), Err(NoField));
    }
}
