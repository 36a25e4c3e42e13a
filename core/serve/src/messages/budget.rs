//! Bytes that callers make a process hold: a budget of the process, and a share of it for each.
//!
//! What is charged comes back when its [`Charge`] is dropped, whatever ended the call: an answer, an
//! error, a panic or a peer that went away.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tonic::Status;

/// Whose share a charge is taken from: whoever its connection is counted for.
pub use crate::places::Holder as Payer;
use crate::places::Weight;

/// How many bytes may be held at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// By all callers together.
    pub total: usize,
    /// By each of them.
    pub each: usize,
}

/// A charge that would go beyond a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Exhausted {
    /// This caller holds as much as one caller may.
    #[error("this caller makes the server hold too many bytes at once; try again with less")]
    Share,
    /// All callers together hold as much as the process may.
    #[error("the server holds as many bytes for its callers as it may; try again later")]
    Total,
}

impl From<Exhausted> for Status {
    fn from(exhausted: Exhausted) -> Self {
        Self::resource_exhausted(exhausted.to_string())
    }
}

/// The bytes that are held, by payer. Who holds none is not remembered, so the table is bounded by
/// what is held.
pub struct ByteBudget {
    shares: Shares,
    held: Mutex<Held>,
    relief: Option<Relief>,
}

/// Told who holds most where all is held.
type Relief = Box<dyn Fn(&Payer) + Send + Sync>;

impl fmt::Debug for ByteBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByteBudget")
            .field("shares", &self.shares)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Held {
    total: usize,
    by_payer: HashMap<Payer, usize>,
}

impl Held {
    /// Who holds more than this one, and the most of all.
    fn greediest(&self, payer: &Payer) -> Option<Payer> {
        let (other, most) = self.by_payer.iter().max_by_key(|(_, bytes)| **bytes)?;
        let own = self.by_payer.get(payer).copied().unwrap_or_default();
        (*most > own).then(|| other.clone())
    }
}

impl ByteBudget {
    /// Nothing is held yet.
    pub fn new(shares: Shares) -> Arc<Self> {
        Arc::new(Self {
            shares,
            held: Mutex::default(),
            relief: None,
        })
    }

    /// As [`new`](Self::new). Where all is held, `relief` is told who holds most, unless that is the one
    /// who asks for more: whoever that is has to give something up, and the other asks again.
    pub fn relieved_by(
        shares: Shares,
        relief: impl Fn(&Payer) + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            shares,
            held: Mutex::default(),
            relief: Some(Box::new(relief)),
        })
    }

    /// The bytes that are held now by all.
    pub fn held(&self) -> usize {
        self.lock().total
    }

    /// The account of one payer.
    pub fn account(self: &Arc<Self>, payer: Payer) -> Account {
        Account {
            budget: Arc::clone(self),
            payer,
            shares: self.shares,
            weight: None,
        }
    }

    fn take(&self, payer: &Payer, shares: Shares, bytes: usize) -> Result<(), Exhausted> {
        let mut held = self.lock();
        let own = held.by_payer.get(payer).copied().unwrap_or_default();
        if bytes > shares.each.saturating_sub(own) {
            return Err(Exhausted::Share);
        }
        if bytes > shares.total.saturating_sub(held.total) {
            let greediest = held.greediest(payer);
            drop(held);
            if let (Some(relief), Some(greediest)) = (&self.relief, greediest) {
                relief(&greediest);
            }
            return Err(Exhausted::Total);
        }
        if bytes > 0 {
            held.total += bytes;
            held.by_payer.insert(payer.clone(), own + bytes);
        }
        Ok(())
    }

    fn give_back(&self, payer: &Payer, bytes: usize) {
        let mut held = self.lock();
        held.total -= bytes;
        if let Some(own) = held.by_payer.get_mut(payer) {
            *own -= bytes;
            if *own == 0 {
                held.by_payer.remove(payer);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who pays, and out of which budget.
#[derive(Clone, Debug)]
pub struct Account {
    budget: Arc<ByteBudget>,
    payer: Payer,
    shares: Shares,
    /// Of the connection that the bytes are held for, where somebody asks.
    weight: Option<Weight>,
}

impl Account {
    /// Whose account it is.
    pub(super) fn payer(&self) -> &Payer {
        &self.payer
    }

    /// The same, where each connection is asked what it holds.
    #[must_use]
    pub fn weighed(self, weight: Weight) -> Self {
        Self {
            weight: Some(weight),
            ..self
        }
    }

    /// The same, with less of the budget: nothing more is charged where so much is held.
    #[must_use]
    pub fn within(self, shares: Shares) -> Self {
        let Shares { total, each } = self.budget.shares;
        let shares = Shares {
            total: shares.total.min(total),
            each: shares.each.min(each),
        };
        Self { shares, ..self }
    }

    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.budget, &other.budget) && self.payer == other.payer
    }

    /// An empty charge on this account.
    pub fn open(&self) -> Charge {
        Charge {
            account: self.clone(),
            bytes: 0,
        }
    }
}

/// The account of one call, which another may take the place of while the call goes on.
#[derive(Clone, Debug)]
pub(super) struct CallAccount(Arc<Mutex<Account>>);

impl CallAccount {
    pub(super) fn new(account: Account) -> Self {
        Self(Arc::new(Mutex::new(account)))
    }

    /// An empty charge on the account of now.
    pub(super) fn open(&self) -> Charge {
        self.lock().open()
    }

    /// What is charged from now on is on this account.
    pub(super) fn change(&self, account: &Account) {
        self.lock().clone_from(account);
    }

    fn lock(&self) -> MutexGuard<'_, Account> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes that are held. Dropping it gives them back.
#[derive(Debug)]
pub struct Charge {
    account: Account,
    bytes: usize,
}

impl Charge {
    /// How many bytes it stands for.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Has another account pay for it from now on; one that pays already goes on.
    ///
    /// # Errors
    /// The bound of that account that it would break; the old one pays on then.
    pub fn move_to(&mut self, account: &Account) -> Result<(), Exhausted> {
        if self.account.is(account) {
            return Ok(());
        }
        let mut moved = account.open();
        moved.resize(self.bytes)?;
        *self = moved;
        Ok(())
    }

    /// Makes it stand for so many bytes.
    ///
    /// # Errors
    /// The bound that more bytes would break; it stands for what it stood for then.
    pub fn resize(&mut self, bytes: usize) -> Result<(), Exhausted> {
        let Account {
            budget,
            payer,
            shares,
            weight,
        } = &self.account;
        if bytes > self.bytes {
            let more = bytes - self.bytes;
            budget.take(payer, *shares, more)?;
            weight.iter().for_each(|weight| weight.add(more));
        } else if bytes < self.bytes {
            let fewer = self.bytes - bytes;
            budget.give_back(payer, fewer);
            weight.iter().for_each(|weight| weight.subtract(fewer));
        }
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        // Giving back never fails.
        let _ = self.resize(0);
    }
}

#[cfg(test)]
mod tests;
