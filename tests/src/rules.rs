//! Rules of the house that a compiler does not know, judged over the source of both daemons and of
//! what they share.

mod arrows;
mod debug_text;
mod pages;
mod peer_lines;
pub(crate) mod source;
mod tables;
mod timers;
