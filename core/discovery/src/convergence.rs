//! Random runs: our delta client and a model of Envoy against the sessions, over streams that
//! break at any moment. After every step no acknowledged version is resent; once everything is
//! delivered the consumer has what the view shows, whatever else was refused.

mod delta;
mod envoy;

use proptest::prelude::*;

use crate::testing::World;

pub(crate) const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// A version that consumers refuse.
pub(crate) fn is_bad(version: &str) -> bool {
    version.ends_with('!')
}

/// One step of a run.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// A name gets a version.
    Put(usize, u8, bool),
    Remove(usize),
    Vanish(usize),
    /// The consumer wants a name, or gives it up.
    Want(usize),
    Leave(usize),
    /// The oldest request arrives.
    Request,
    /// The server says one thing.
    Poll,
    /// The oldest response arrives.
    Response,
    /// The stream breaks; what was under way is lost.
    Reconnect,
}

pub(crate) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let name = || 0..NAMES.len();
    let step = prop_oneof![
        3 => (name(), 0u8..3, prop::bool::weighted(0.25)).prop_map(|(n, v, b)| Step::Put(n, v, b)),
        1 => name().prop_map(Step::Remove),
        1 => name().prop_map(Step::Vanish),
        2 => name().prop_map(Step::Want),
        1 => name().prop_map(Step::Leave),
        4 => Just(Step::Request),
        4 => Just(Step::Poll),
        4 => Just(Step::Response),
        1 => Just(Step::Reconnect),
    ];
    prop::collection::vec(step, 0..60)
}

/// Changes the world, if that is what the step does.
pub(crate) fn change(world: &mut World, step: &Step) {
    match *step {
        Step::Put(name, version, bad) => {
            let mark = if bad { "!" } else { "" };
            world.put(NAMES[name], &format!("{version}{mark}"));
        }
        Step::Remove(name) => world.remove(NAMES[name]),
        Step::Vanish(name) => world.vanish(NAMES[name]),
        _ => {}
    }
}

/// Most rounds that a run may need to come to rest: a hot loop never does.
pub(crate) const MAX_ROUNDS: usize = 1_000;
