//! The issuance log of a control plane that is down, read with the library that writes it.

use std::collections::BTreeMap;
use std::path::Path;

use countersign_model::Serial;
use countersign_proto::log::Entry;
use countersign_proto::log::entry::What;
use countersign_tlog::{Log, Options};
use prost::Message;
use x509_parser::certificate::TbsCertificate;
use x509_parser::prelude::FromDer;

/// Every entry, in order.
pub(crate) fn entries(data_dir: &Path) -> Vec<What> {
    let dir = data_dir.join("log");
    let key = std::fs::read_to_string(dir.join("key.vkey")).unwrap();
    let (origin, _) = key.split_once('+').expect("a verifier key");
    let log = Log::open(&Options {
        key: data_dir.join("log.key"),
        origin: origin.to_owned(),
        dir,
    });
    let log = log.expect("the log opens");
    let entries = log.scan(0).map(|entry| {
        let (_, bytes) = entry.expect("every entry reads");
        let entry = Entry::decode(&*bytes).expect("every entry is one of ours");
        entry.what.expect("of a kind that we know")
    });
    entries.collect()
}

/// The certificates among them: by index, the serial that the entry bears.
pub(crate) fn certificates(entries: &[What]) -> BTreeMap<u64, Serial> {
    let serials = (0u64..).zip(entries).filter_map(|(index, what)| {
        let What::Issued(issued) = what else {
            return None;
        };
        let (_, tbs) = TbsCertificate::from_der(&issued.tbs).unwrap();
        Some((index, Serial::from_bytes(tbs.raw_serial()).unwrap()))
    });
    serials.collect()
}
