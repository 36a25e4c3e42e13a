//! Texts that many lineages share, kept once: owners, nodes and issuers.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

use countersign_registry::Account;

/// The shared texts.
#[derive(Debug, Default)]
pub(crate) struct Names {
    texts: HashSet<Arc<str>>,
    accounts: HashSet<Arc<Account>>,
}

impl Names {
    /// The kept copy of a text.
    pub(crate) fn text(&mut self, text: &str) -> Arc<str> {
        if let Some(kept) = self.texts.get(text) {
            return kept.clone();
        }
        let kept: Arc<str> = text.into();
        self.texts.insert(kept.clone());
        kept
    }

    /// The kept copy of an account.
    pub(crate) fn account(&mut self, account: &Account) -> Arc<Account> {
        if let Some(kept) = self.accounts.get(account) {
            return kept.clone();
        }
        let kept = Arc::new(account.clone());
        self.accounts.insert(kept.clone());
        kept
    }

    /// Forgets what nothing but this table holds.
    pub(crate) fn forget_unused(&mut self) {
        retain_used(&mut self.texts);
        retain_used(&mut self.accounts);
    }
}

fn retain_used<T: ?Sized + Eq + Hash>(kept: &mut HashSet<Arc<T>>) {
    kept.retain(|it| Arc::strong_count(it) > 1);
    kept.shrink_to_fit();
}

#[cfg(test)]
impl Names {
    /// Whether nothing is kept.
    pub(crate) fn is_empty(&self) -> bool {
        self.texts.is_empty() && self.accounts.is_empty()
    }
}
