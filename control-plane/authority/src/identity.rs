//! What makes a state itself: its trust domain, epoch and log, fixed at first start.

use std::collections::HashMap;

use countersign_model::Seq;
use countersign_refusal::{Denied, Unavailable};
use countersign_restore::facts::{
    DOUBTS, EPOCH, LOG_ID, PREDECESSOR, Predecessor, TRUST_DOMAIN, random_log_id,
};
use countersign_store::{Entry, Kind, Store, StoreError, Write};
use jiff::Timestamp;

use super::asking::CA_SIGNER;
use super::database::REPLICA;
use super::doubts::StoredDoubts;
use super::importing::{REQUESTED, StoredRequest};
use super::record::ACCOUNTED;
use super::replicas::Replica;
use super::replicas::noting::JOINED;
use super::rotation::BUNDLE_SEQUENCE;
use super::{AuthorityError, Settings};

const FIRST_EPOCH: u64 = 1;
/// Key in the store: the index below which every signature of the log is in the database.
pub(super) const BROUGHT: &str = "signatures_brought";

/// Facts of the whole state, by name.
pub(super) type Meta = HashMap<String, Entry>;

/// What makes this state itself.
pub(super) struct Identity {
    pub(super) epoch: u64,
    pub(super) log_id: u32,
    pub(super) bundle_sequence: u64,
    /// The commit that changed the CAs last.
    pub(super) cas_written: Seq,
    /// The replica that signed an issuing CA last, as far as is known.
    pub(super) ca_signer: Option<String>,
    pub(super) requested: Option<StoredRequest>,
    /// Entries of the log that commits account for.
    pub(super) log_accounted: u64,
    /// The replica whose log and issuing CA came with the state.
    pub(super) first_replica: Option<String>,
    /// Where a restore took the state from, and the commit that says so.
    pub(super) predecessor: Option<(Predecessor, Seq)>,
    /// What told before a restart that the state was put back.
    pub(super) doubts: Option<StoredDoubts>,
    /// Logs of other replicas that the log names.
    pub(super) joined: Vec<u32>,
    /// The index below which the signatures of the log were brought into the database.
    pub(super) signatures_brought: u64,
    /// Names of the facts that are about this control plane alone.
    pub(super) facts: OwnFacts,
    /// The row of this control plane, where it was written now: what was found does not have it.
    pub(super) row: Option<Replica>,
}

/// Writes the identity of a new state.
pub(super) async fn begin(
    store: &Store,
    settings: &Settings,
    now: Timestamp,
) -> Result<Identity, AuthorityError> {
    let log_id = random_log_id(&*settings.entropy)?;
    let name = settings.trust_domain.as_str();
    let mut writes = vec![
        Write::put(Kind::Meta, TRUST_DOMAIN, &name),
        Write::put(Kind::Meta, EPOCH, &FIRST_EPOCH),
        Write::put(Kind::Meta, LOG_ID, &log_id),
        Write::put(Kind::Meta, BUNDLE_SEQUENCE, &0_u64),
        Write::put(Kind::Meta, ACCOUNTED, &0_u64),
    ];
    let row = joined(settings, log_id, now);
    writes.extend(row.as_ref().map(|row| put(settings, row)));
    let cas_written = store.commit(writes, Vec::new()).await?;
    Ok(Identity {
        epoch: FIRST_EPOCH,
        log_id,
        bundle_sequence: 0,
        cas_written,
        ca_signer: None,
        requested: None,
        log_accounted: 0,
        predecessor: None,
        first_replica: None,
        doubts: None,
        joined: Vec::new(),
        signatures_brought: 0,
        facts: OwnFacts::default(),
        row,
    })
}

/// Finds the identity of a state again. In a database that several share, the log and what belongs to it
/// are each one's own.
pub(super) async fn resume(
    store: &Store,
    (meta, own): (&Meta, Option<Replica>),
    settings: &Settings,
    now: Timestamp,
) -> Result<Identity, AuthorityError> {
    let find = |name: &str| {
        let lost = || Unavailable::damaged(format!("the store has lost its {name}"));
        meta.get(name).ok_or_else(lost)
    };
    let stored: String = find(TRUST_DOMAIN)?.read()?;
    if stored != settings.trust_domain.as_str() {
        return Err(other_trust_domain(&stored, settings).into());
    }
    let first_replica: Option<String> = meta.get(REPLICA).map(Entry::read).transpose()?;
    let facts = OwnFacts::of(settings.replica(), first_replica.as_deref());
    let of_row = own.as_ref().and_then(Replica::log_id);
    let of_state = || find(LOG_ID)?.read::<u32>().map_err(AuthorityError::from);
    let (log_id, row) = match of_row {
        Some(log_id) if !facts.are_shared() || log_id == of_state()? => (log_id, None),
        _ => {
            // A state that came from files, or was made before replicas had rows. One that was restored there has
            // another log since its row was written.
            let log_id = of_state()?;
            let row = joined(settings, log_id, now);
            if let Some(row) = &row {
                store.commit(vec![put(settings, row)], Vec::new()).await?;
            }
            (log_id, row)
        }
    };
    let own = |base| meta.get(&facts.key(base));
    let log_accounted = match own(ACCOUNTED) {
        Some(accounted) => accounted.read()?,
        None if facts.are_shared() => find(ACCOUNTED)?.read()?,
        // It joined, and changed nothing yet.
        None => 0,
    };
    Ok(Identity {
        epoch: find(EPOCH)?.read()?,
        log_id,
        bundle_sequence: find(BUNDLE_SEQUENCE)?.read()?,
        cas_written: find(BUNDLE_SEQUENCE)?.seq,
        ca_signer: { meta.get(CA_SIGNER).or_else(|| meta.get(REPLICA)) }
            .map(Entry::read)
            .transpose()?,
        requested: own(REQUESTED).map(Entry::read).transpose()?,
        log_accounted,
        predecessor: { meta.get(PREDECESSOR) }
            .map(|entry| Ok::<_, StoreError>((entry.read()?, entry.seq)))
            .transpose()?,
        doubts: own(DOUBTS).map(Entry::read).transpose()?,
        joined: { own(JOINED).map(Entry::read).transpose()? }.unwrap_or_default(),
        signatures_brought: { own(BROUGHT).map(Entry::read).transpose()? }.unwrap_or_default(),
        first_replica,
        facts,
        row,
    })
}

/// The row of a control plane of a database; none where the state is in files.
fn joined(settings: &Settings, log_id: u32, since: Timestamp) -> Option<Replica> {
    let is_shared = !settings.replica().is_empty();
    is_shared.then_some(Replica::Joined { log_id, since })
}

fn put(settings: &Settings, row: &Replica) -> Write {
    Write::put(Kind::Replica, settings.replica(), row)
}

fn other_trust_domain(stored: &str, settings: &Settings) -> Denied {
    Denied {
        code: "other_trust_domain",
        message: format!(
            "{} belongs to the trust domain {stored}, not {}",
            settings.data_dir.display(),
            settings.trust_domain.as_str(),
        ),
        remedy: "set trust_domain as it was at first start, or choose another data_dir",
    }
}

/// Names in the store of the facts that are about one control plane and not about the state: how much
/// of its log is accounted for, which key waits for a certificate, what it doubts. Those of the control
/// plane that made the state have no name of a replica in them, as in files.
#[derive(Clone, Debug, Default)]
pub(super) struct OwnFacts(Option<String>);

impl OwnFacts {
    fn of(own: &str, first: Option<&str>) -> Self {
        let joined = !own.is_empty() && first.is_some_and(|first| first != own);
        Self(joined.then(|| own.to_owned()))
    }

    /// Whether they have the names that they have in files.
    fn are_shared(&self) -> bool {
        self.0.is_none()
    }

    /// The name of a fact.
    pub(super) fn key(&self, base: &str) -> String {
        match &self.0 {
            None => base.to_owned(),
            Some(replica) => format!("{base}/{replica}"),
        }
    }
}
