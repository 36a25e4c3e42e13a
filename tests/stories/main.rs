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
mod workloads;
