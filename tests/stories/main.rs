//! The stories: what a user of Countersign is promised, told with real processes.
//!
//! Each story starts a mesh of its own in a folder of its own, so that they run side by side.

mod authorities;
mod bad_input;
mod command_line;
mod configuration;
mod crowded;
mod daemon;
mod demo;
mod failover;
mod images;
mod operator_pages;
mod packages;
mod pages;
mod push;
mod refusals;
mod replicas;
mod report;
mod restarts;
mod restores;
mod root;
mod rotation;
mod scene;
mod service_manager;
mod stalled_logs;
mod surroundings;
mod traces;
mod upgrade;
mod verdict;
mod workloads;

/// A figure of a story, for who reads what the test runner captures.
#[allow(clippy::print_stderr, reason = "the test runner captures it")]
fn measured(told: &str) {
    eprintln!("{told}");
}
