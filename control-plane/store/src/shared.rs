//! Where several control planes keep their state, before it is opened: PostgreSQL at an address, or a
//! database that a simulation owns.

use std::fmt;

use futures_util::future::BoxFuture;

use crate::postgres::{Address, WriterName};
use crate::{Snapshot, Store, StoreError};

/// A database that several control planes may share.
pub trait Shared: fmt::Debug + Send + Sync {
    /// As [`Store::look`].
    fn look(&self) -> BoxFuture<'_, Result<Option<Snapshot>, StoreError>>;

    /// As [`Store::connect`].
    fn connect(&self, writer: WriterName) -> BoxFuture<'_, Result<Store, StoreError>>;
}

impl Shared for Address {
    fn look(&self) -> BoxFuture<'_, Result<Option<Snapshot>, StoreError>> {
        Box::pin(Store::look(self))
    }

    fn connect(&self, writer: WriterName) -> BoxFuture<'_, Result<Store, StoreError>> {
        Box::pin(async { Ok(Store::connect(self.clone(), writer).await?.0) })
    }
}
