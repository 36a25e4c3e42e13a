//! The ledger: the issuance log, and the books that are kept of it in memory.
//!
//! The books are what of the log is needed without reading it: the [`Inventory`] of what is out
//! there, the entries that are void and not voided in the log yet, the refusals that are not logged
//! yet, and how far commits and the file of the inventory account for it.

mod refusals;
mod voids;

use std::sync::{RwLockReadGuard, RwLockWriteGuard};

use countersign_ca::log::{Log, Logged};
use countersign_ca::sign::Signed;
use countersign_inventory::{Filter, Inventory, Issued, Lineage, LineageId, TakenEntry};
use countersign_issue::issuance::Issuance;
use countersign_model::Registration;
use countersign_store::LogSignature;
use countersign_tlog::LogError;
use jiff::Timestamp;

use crate::archive::{Archived, kept};
use crate::lock::{Locked, Ordered, Place};
use refusals::Refusals;
use voids::Unvoided;

/// The log and its books.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// Before the log, so that it is dropped first.
    archived: Archived,
    log: Log,
    books: Ordered<Books>,
    /// One `voided` entry at a time, so that nothing is voided twice.
    voiding: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Books {
    inventory: Inventory,
    refusals: Refusals,
    unvoided: Unvoided,
    /// The newest entry of other logs that was taken, with all of its commit and of those before.
    taken: Option<TakenEntry>,
    /// Size of the log, and the newest entry of others that was taken, when the inventory was last written down.
    settled: (u64, Option<TakenEntry>),
    /// How many entries of the log commits account for.
    accounted: u64,
}

impl Ledger {
    /// The ledger of a log, with empty books.
    pub(crate) fn new(log: Log, archived: Archived) -> Self {
        Self {
            archived,
            log,
            books: Ordered::new(Place::Books, Books::default()),
            voiding: tokio::sync::Mutex::default(),
        }
    }

    /// The log itself.
    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    /// A certificate of our own was given out.
    pub(crate) fn delivered(&self, signed: &Signed) {
        self.issued(signed);
        self.archived.signed(signed);
    }

    /// From which entry on the database may lack signatures, where those below an index were brought, as is stored.
    pub(crate) fn lacks_from(&self, brought: u64) -> u64 {
        self.archived.lacks_from(brought)
    }

    /// The signature that is kept beside an entry of our own, for the other control planes; `None` where there is none
    /// or the entry has another name: of a log that ours goes on from.
    pub(crate) fn kept_signature(&self, index: u64) -> Result<Option<LogSignature>, LogError> {
        let own = |logged: &Logged| logged.issuance().serial.log_id() == self.log.id();
        let Some(logged) = self.log.read_back(index)?.filter(own) else {
            return Ok(None);
        };
        let signature = self.log.signature(index)?;
        let entry = logged.issuance().serial.coordinate();
        Ok(signature.map(|bytes| kept(entry, bytes)))
    }

    /// A certificate was found in a log with its signature.
    pub(crate) fn issued(&self, signed: &Signed) {
        self.write().inventory.issued(signed);
    }

    /// A certificate was found in the log, without its signature.
    pub(crate) fn found(&self, issuance: &Issuance) {
        self.write().inventory.found(issuance);
    }

    /// A registration was made or changed.
    pub(crate) fn registered(&self, registration: &Registration) {
        self.write().inventory.registered(registration);
    }

    /// How many certificates were logged and are not void.
    pub(crate) fn issued_total(&self) -> u64 {
        self.read().inventory.issued_total()
    }

    /// The same, by what they are.
    pub(crate) fn issued_by_kind(&self) -> Issued {
        self.read().inventory.issued_by_kind()
    }

    /// One lineage.
    pub(crate) fn lineage(&self, id: &LineageId) -> Option<Lineage> {
        self.read().inventory.lineage(id).cloned()
    }

    /// The lineages that pass a filter, by ID, then node: a copy, so that nobody waits for a reader
    /// that is slow.
    pub(crate) fn lineages(&self, filter: &Filter, now: Timestamp) -> Vec<Lineage> {
        let books = self.read();
        books
            .inventory
            .list(filter, now)
            .into_iter()
            .cloned()
            .collect()
    }

    /// Forgets lineages that ended long ago.
    pub(crate) fn forget_expired(&self, now: Timestamp) {
        self.write().inventory.forget_expired(now);
    }

    /// Takes the inventory that was written down.
    pub(crate) fn take_inventory(&self, inventory: Inventory) {
        self.write().inventory = inventory;
    }

    /// What is written down of the inventory.
    pub(crate) fn with_inventory<T>(&self, read: impl FnOnce(&Inventory) -> T) -> T {
        read(&self.read().inventory)
    }

    /// A commit accounts for the entries below an index.
    pub(crate) fn account_for(&self, entries: u64) {
        self.write().accounted = entries;
    }

    /// All entries of other logs were taken up to this one, and all of its commit.
    pub(crate) fn took(&self, taken: TakenEntry) {
        let mut books = self.write();
        let is_newer = books.taken.is_none_or(|before| before.seq <= taken.seq);
        if is_newer {
            books.taken = Some(taken);
        }
    }

    /// The inventory covers the entries of our log below an index, and those of other logs that were taken.
    pub(crate) fn settle(&self, size: u64) {
        let mut books = self.write();
        books.settled = (size, books.taken);
    }

    /// The inventory is about to be written down: the present size of the log and the newest entry of others that
    /// was taken, and both when that was so before.
    pub(crate) fn settle_now(&self) -> [(u64, Option<TakenEntry>); 2] {
        let mut books = self.write();
        let present = (self.log.size(), books.taken);
        [present, std::mem::replace(&mut books.settled, present)]
    }

    /// How many entries of the log commits account for.
    pub(crate) fn accounted(&self) -> u64 {
        self.read().accounted
    }

    fn read(&self) -> Locked<RwLockReadGuard<'_, Books>> {
        self.books.read()
    }

    fn write(&self) -> Locked<RwLockWriteGuard<'_, Books>> {
        self.books.write()
    }
}
