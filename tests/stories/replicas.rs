//! Two control planes of one database and what may befall them, for real: processes, networks, a clock, a
//! disk and a database server fail while every identity is renewed all the time and real Envoys carry traffic.
//!
//! Whatever the fault is, at the end of each story ([`fleet::Fleet::nothing_was_lost`]): 0 requests failed, 0
//! certificates are without an entry of an issuance log, and nobody ever had an older one after a newer one.

mod clocks;
mod database;
mod disks;
mod fleet;
mod partitions;
mod processes;
mod roots;
mod spreading;
