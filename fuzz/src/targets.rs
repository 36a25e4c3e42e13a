//! One file a target.

pub mod authority_field;
pub mod backup;
pub mod blocked_keys;
pub mod bundle;
pub mod certificate;
pub mod certification_request;
pub mod configuration;
pub mod discovery_request;
pub mod discovery_response;
pub mod duration;
pub mod entitlement;
pub mod foreign_root;
pub mod grpc_timeout;
pub mod key_proof;
pub mod log_entry;
pub mod log_files;
pub mod log_proof;
mod material;
pub mod policy;
pub mod process_stat;
pub mod public_key;
pub mod registration;
pub mod revocation_list;
pub mod secret;
pub mod selector;
pub mod serial;
pub mod spiffe_id;
