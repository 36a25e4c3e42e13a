//! Which database keeps the state, and who this control plane is in it.

use std::io;

use countersign_ca::log::FOLDER;
use countersign_model::entropy::Entropy;
use countersign_refusal::{Denied, Unavailable};
use countersign_serve::durable_file;
use countersign_store::copy::moved_to;
use countersign_store::postgres::WriterName;
use countersign_store::{
    DATABASE, DataDir, Kind, Precondition, Snapshot, Store, StoreError, Write,
};
use countersign_telemetry::{Principal, peer_line};

use super::{Authority, AuthorityError, Settings, StoreSettings};

/// The file that tells this data directory from every other.
const INSTANCE: &str = "instance";
/// The file that says that the database was found older than it was left.
const OLDER: &str = "database-older";
/// Key in the store: the control plane whose log and CAs the state belongs to.
pub(super) const REPLICA: &str = "replica";

/// Opens the database, or makes it.
pub(super) async fn open(settings: &Settings, data_dir: &DataDir) -> Result<Store, AuthorityError> {
    let StoreSettings::Postgres { address, replica } = &settings.store else {
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
    let found = Store::look(address).await.map_err(not_had)?;
    let is_empty = found.as_ref().is_none_or(|it| it.entries.is_empty());
    if is_empty && data_dir.path().join(FOLDER).exists() {
        return Err(no_state(settings).into());
    }
    if let Some(found) = found {
        is_ours(&found, replica)?;
    }
    let instance = instance(data_dir, &*settings.entropy)?;
    let name = replica.clone();
    let writer = WriterName { name, instance };
    let (store, _) = Store::connect(address.clone(), writer)
        .await
        .map_err(not_had)?;
    claim(&store, replica).await?;
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
async fn claim(store: &Store, replica: &str) -> Result<(), AuthorityError> {
    let first = Precondition::Absent(Kind::Meta, REPLICA.to_owned());
    let claim = vec![Write::put(Kind::Meta, REPLICA, &replica)];
    match store.commit(claim, vec![first]).await {
        Ok(_) => Ok(()),
        Err(StoreError::Conflict) => is_ours(&store.snapshot().await?, replica),
        Err(error) => Err(error.into()),
    }
}

fn is_ours(found: &Snapshot, replica: &str) -> Result<(), AuthorityError> {
    if let Some(place) = moved_to(found) {
        return Err(AuthorityError::Denied(Denied {
            code: "database_moved",
            message: format!("the state of this database was moved to {place}"),
            remedy: "remove store.url, or copy the state back into an empty database",
        }));
    }
    let mut facts = found
        .entries
        .iter()
        .filter(|entry| entry.kind == Kind::Meta);
    let Some(owner) = facts.find(|entry| entry.key == REPLICA) else {
        return Ok(());
    };
    let owner: String = owner.read()?;
    if owner == replica {
        return Ok(());
    }
    Err(AuthorityError::Denied(Denied {
        code: "database_taken",
        message: format!(
            "the database holds the state of the control plane {owner}, not of {replica}"
        ),
        remedy: "name another database in store.url; one control plane uses a database so far",
    }))
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
    match std::fs::read_to_string(&path) {
        Ok(instance) if !instance.trim().is_empty() => return Ok(instance.trim().to_owned()),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(unavailable(&error)),
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
