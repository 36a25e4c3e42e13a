//! The issuance log: a coordinate before the serial is made, durability before the signature.
//!
//! An index is reserved, goes into the serial and so into the to-be-signed certificate, and is
//! never used twice. An index without a row says that a certificate was prepared and not signed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::rand;
use countersign_model::Serial;

use crate::issue::Linted;
use crate::store::{IssuanceRow, Store, StoreError};

/// The log of this control plane.
#[derive(Debug)]
pub(crate) struct Log {
    id: u32,
    next: AtomicU64,
    appended: AtomicU64,
    store: Arc<Store>,
}

/// A coordinate that nothing else will ever have. Consumed by the certificate that bears it.
#[derive(Debug)]
pub(crate) struct Slot {
    serial: Serial,
}

impl Slot {
    /// The serial of the certificate at this coordinate.
    pub(crate) fn into_serial(self) -> Serial {
        self.serial
    }
}

/// A to-be-signed certificate that is durable in the log. Only [`Log`] makes one.
#[derive(Debug)]
pub(crate) struct Logged {
    row: IssuanceRow,
}

impl Logged {
    /// The entry.
    pub(crate) fn row(&self) -> &IssuanceRow {
        &self.row
    }

    /// The entry, given up.
    pub(crate) fn into_row(self) -> IssuanceRow {
        self.row
    }
}

impl Log {
    /// Goes on where the stored log ends.
    pub(crate) async fn open(id: u32, store: Arc<Store>) -> Result<Self, StoreError> {
        let (next, appended) = store.log_size().await?;
        Ok(Self {
            id,
            next: next.into(),
            appended: appended.into(),
            store,
        })
    }

    /// Reserves the next coordinate.
    pub(crate) fn reserve(&self) -> Result<Slot, StoreError> {
        let full = |_| StoreError::Damaged { what: "log index" };
        let index = self.next.fetch_add(1, Ordering::Relaxed);
        let mut random = [0; 8];
        rand::fill(&mut random).map_err(|_| StoreError::Stopped)?;
        let serial = Serial::new(self.id, index, random).map_err(full)?;
        Ok(Slot { serial })
    }

    /// The index that the next certificate gets.
    pub(crate) fn next_index(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    /// How many certificates were logged.
    pub(crate) fn appended(&self) -> u64 {
        self.appended.load(Ordering::Relaxed)
    }

    /// Makes a checked certificate durable: only then may it be signed.
    pub(crate) async fn append(&self, linted: Linted) -> Result<Logged, StoreError> {
        let mut row = linted.into_row();
        row.seq = self.store.append(row.clone()).await?;
        self.appended.fetch_add(1, Ordering::Relaxed);
        Ok(Logged { row })
    }

    /// An entry that was read back from the log: durable by nature.
    pub(crate) fn read_back(row: IssuanceRow) -> Logged {
        Logged { row }
    }
}
