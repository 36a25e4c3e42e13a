//! Which database keeps the state, and who this control plane is in it.

use std::io;
use std::sync::Arc;

use countersign_ca::log::FOLDER;
use countersign_model::entropy::Entropy;
use countersign_refusal::{Denied, Unavailable};
use countersign_restore::facts::{TRUST_DOMAIN, random_log_id};
use countersign_serve::{bounded_file, durable_file};
use countersign_store::copy::moved_to;
use countersign_store::postgres::WriterName;
use countersign_store::{
    DATABASE, DataDir, Entry, Kind, Precondition, Shared, Snapshot, Store, StoreError, Write,
};
use countersign_telemetry::{Principal, peer_line};
use jiff::Timestamp;

use super::replicas::Replica;
use super::replicas::joining::{Entrance, Found, entrance};
use super::{Authority, AuthorityError, Settings, StoreSettings};

/// The file that tells this data directory from every other.
const INSTANCE: &str = "instance";
/// Its longest content: 32 are written.
const MAX_INSTANCE_BYTES: u64 = 256;
/// The file that says that the database was found older than it was left.
const OLDER: &str = "database-older";
/// Key in the store: the control plane whose log and CAs the state belongs to.
pub(super) const REPLICA: &str = "replica";

/// Opens the database, or makes it: where `shared` is none, the one of its address.
pub(super) async fn open(
    settings: &Settings,
    shared: Option<Arc<dyn Shared>>,
    data_dir: &DataDir,
    now: Timestamp,
) -> Result<Store, AuthorityError> {
    let StoreSettings::Postgres {
        address, replica, ..
    } = &settings.store
    else {
        return Ok(Store::open(data_dir).await?.0);
    };
    if data_dir.path().join(DATABASE).exists() {
        return Err(two_states(settings).into());
    }
    let marker = data_dir.path().join(OLDER);
    if marker.exists() {
        return Err(AuthorityError::Denied(Denied {
            code: "database_older",
            message: format!(
                "the database was found without what was committed to it ({})",
                marker.display()
            ),
            remedy: "bring back the server that has it and remove that file, or start from a backup; \
                     see \"The database is away\" in docs/operations.md",
        }));
    }
    let database = shared.unwrap_or_else(|| Arc::new(address.clone()));
    let found = database.look().await.map_err(not_had)?;
    let is_empty = found.as_ref().is_none_or(|it| it.entries.is_empty());
    if is_empty && data_dir.path().join(FOLDER).exists() {
        return Err(no_state(settings).into());
    }
    let entrance = entrance_to(found.as_ref(), settings, now)?;
    let instance = instance(data_dir, &*settings.entropy)?;
    let name = replica.clone();
    let writer = WriterName { name, instance };
    let store = database.connect(writer).await.map_err(not_had)?;
    match entrance {
        Entrance::Known => {}
        Entrance::First => claim(&store, settings, now).await?,
        Entrance::Joins => join(&store, settings, now).await?,
    }
    Ok(store)
}

impl Authority {
    /// Remembers beyond a restart that the database lacks what was committed to it: what starts would take
    /// it as it is.
    pub(super) fn remember_older(&self) {
        let marker = self.backups.data_dir().path().join(OLDER);
        if !self.store.is_older() || marker.exists() {
            return;
        }
        let told = "The database did not hold what this control plane had committed to it.\n";
        if let Err(error) = durable_file::write(&marker, told.as_bytes()) {
            let store = Principal::part("store");
            peer_line!(ERROR, store, %error, "it is not remembered that the database is older");
        }
    }
}

/// Says whose state it is, once. Of two that begin at the same moment one does.
async fn claim(store: &Store, settings: &Settings, now: Timestamp) -> Result<(), AuthorityError> {
    let first = Precondition::Absent(Kind::Meta, REPLICA.to_owned());
    let claim = vec![Write::put(Kind::Meta, REPLICA, &settings.replica())];
    match store.commit(claim, vec![first]).await {
        Ok(_) => Ok(()),
        Err(StoreError::Conflict) => {
            entrance_to(Some(&store.snapshot().await?), settings, now)?;
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// Uses up the invitation: from here on the log of this control plane is one of the trust domain's.
async fn join(store: &Store, settings: &Settings, now: Timestamp) -> Result<(), AuthorityError> {
    let found = store.snapshot().await?;
    // Judged once more: it may have been used up, or replaced, since the look.
    if entrance_to(Some(&found), settings, now)? != Entrance::Joins {
        return Ok(());
    }
    let own = entry(&found, Kind::Replica, settings.replica());
    let invited = own.ok_or_else(|| Unavailable::retry("the invitation is gone"))?;
    let name = settings.replica().to_owned();
    let joined = Replica::Joined {
        log_id: random_log_id(&*settings.entropy)?,
        since: now,
    };
    let unused = Precondition::Unchanged(Kind::Replica, name.clone(), invited.seq);
    let joins = vec![Write::put(Kind::Replica, name, &joined)];
    store.commit(joins, vec![unused]).await?;
    Ok(())
}

/// As what this control plane opens what was found.
fn entrance_to(
    found: Option<&Snapshot>,
    settings: &Settings,
    now: Timestamp,
) -> Result<Entrance, AuthorityError> {
    let StoreSettings::Postgres { invitation, .. } = &settings.store else {
        return Ok(Entrance::First);
    };
    if let Some(place) = found.and_then(moved_to) {
        return Err(AuthorityError::Denied(Denied {
            code: "database_moved",
            message: format!("the state of this database was moved to {place}"),
            remedy: "remove store.url, or copy the state back into an empty database",
        }));
    }
    let fact = |name| -> Result<Option<String>, StoreError> {
        let fact = found.and_then(|found| entry(found, Kind::Meta, name));
        fact.map(Entry::read).transpose()
    };
    let (first, trust_domain) = (fact(REPLICA)?, fact(TRUST_DOMAIN)?);
    let own = found.and_then(|found| entry(found, Kind::Replica, settings.replica()));
    let own: Option<Replica> = own.map(Entry::read).transpose()?;
    let found = Found {
        trust_domain: trust_domain.as_deref(),
        first: first.as_deref(),
        own: own.as_ref(),
    };
    let who = (settings.trust_domain.as_str(), settings.replica());
    Ok(entrance(who, invitation.as_ref(), &found, now)?)
}

fn entry<'a>(found: &'a Snapshot, kind: Kind, key: &str) -> Option<&'a Entry> {
    let mut entries = found.entries.iter();
    entries.find(|entry| entry.kind == kind && entry.key == key)
}

fn no_state(settings: &Settings) -> Denied {
    Denied {
        code: "state_missing",
        message: format!(
            "{} has the log of a control plane, and the database that store.url names has no state",
            settings.data_dir.display()
        ),
        remedy: "check store.url; copy the state there with `countersign store copy`",
    }
}

fn two_states(settings: &Settings) -> Denied {
    Denied {
        code: "two_states",
        message: format!(
            "{} holds a state of its own and store.url names a database",
            settings.data_dir.display()
        ),
        remedy: "copy the state with `countersign store copy`, then move state.db away; or remove store.url",
    }
}

/// Why there is no start: it is about the database, not about the data directory.
fn not_had(error: StoreError) -> AuthorityError {
    let (code, remedy) = match &error {
        StoreError::Database(_) => (
            "database_unavailable",
            "see what `countersign store check` says of store.url; a start is tried again by the \
             service manager",
        ),
        StoreError::Schema(_) => (
            "database_schema",
            "see what `countersign store check` says of store.url",
        ),
        StoreError::NameTaken { .. } => (
            "replica_name_taken",
            "set another replica.name, or start it with the data_dir that the name belongs to",
        ),
        StoreError::FencedOut { .. } => (
            "replica_fenced_out",
            "finish with `countersign replica seal` on one that runs where its list says joined; join with \
             another replica.name and an empty data_dir",
        ),
        _ => return error.into(),
    };
    AuthorityError::Denied(Denied {
        code,
        message: error.to_string(),
        remedy,
    })
}

/// What tells this data directory from a second one whose control plane has the same name.
fn instance(data_dir: &DataDir, entropy: &dyn Entropy) -> Result<String, AuthorityError> {
    let path = data_dir.path().join(INSTANCE);
    let kept = bounded_file::read_own(&path, MAX_INSTANCE_BYTES);
    if let Some(kept) = kept.map_err(|error| unavailable(&error))? {
        let kept = str::from_utf8(&kept);
        let kept = kept.map_err(|error| unavailable(&io::Error::other(error)))?;
        if !kept.trim().is_empty() {
            return Ok(kept.trim().to_owned());
        }
    }
    let mut random = [0; 16];
    entropy.fill(&mut random)?;
    let instance = hex::encode(random);
    durable_file::write(&path, instance.as_bytes()).map_err(|error| unavailable(&error))?;
    Ok(instance)
}

fn unavailable(error: &io::Error) -> AuthorityError {
    Unavailable::retry(format!("{INSTANCE}: {error}")).into()
}
