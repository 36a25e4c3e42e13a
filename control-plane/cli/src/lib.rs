//! What `countersign` reads of files that anybody may have written, for those who test it: registrations in
//! YAML or JSON. The program itself is `main.rs`.

pub mod document;
pub mod times;
