//! What is counted at key stores. It lives with the stores, which must not know who scrapes it.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use countersign_ca::key::{StoreKind, StoreState};

/// What is asked of a key store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyOperation {
    /// Make a key.
    Create,
    /// Find a key.
    Load,
    /// Make a signature.
    Sign,
    /// Destroy a key.
    Destroy,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    store: &'static str,
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabels {
    store: &'static str,
    op: &'static str,
    result: &'static str,
}

/// States and operations of every key store. Clones count into the same series.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeyStoreSeries {
    states: Family<StateLabels, Gauge>,
    operations: Family<OperationLabels, Counter>,
}

impl KeyStoreSeries {
    /// Says which state a store is in: 1 for that one, 0 for every other.
    pub(crate) fn is_in(&self, store: StoreKind, present: StoreState) {
        let store = store.as_str();
        for state in StoreState::ALL {
            let labels = StateLabels {
                store,
                state: state.as_str(),
            };
            let series = self.states.get_or_create(&labels);
            series.set(i64::from(state == present));
        }
    }

    /// Counts an operation.
    pub(crate) fn counted(&self, store: StoreKind, operation: KeyOperation, is_ok: bool) {
        self.counter(store, operation, is_ok).inc();
    }

    /// The counter of one kind of operation.
    pub(crate) fn counter(
        &self,
        store: StoreKind,
        operation: KeyOperation,
        is_ok: bool,
    ) -> Counter {
        let op = match operation {
            KeyOperation::Create => "create",
            KeyOperation::Load => "load",
            KeyOperation::Sign => "sign",
            KeyOperation::Destroy => "destroy",
        };
        let labels = OperationLabels {
            store: store.as_str(),
            op,
            result: if is_ok { "ok" } else { "failed" },
        };
        self.operations.get_or_create(&labels).clone()
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "keystore_state",
            "Whether a key store is in a state: 1 or 0",
            self.states.clone(),
        );
        registry.register(
            "keystore_operations",
            "What was asked of a key store, by result",
            self.operations.clone(),
        );
    }
}
