//! `[ca.keys]` and `[ca.pkcs11]`: where the keys of the CAs live.

use countersign_authority::{Pkcs11Settings, StoreKind};
use countersign_cli::Reader;
use serde::Serialize;

use super::ca::Root;

/// Key stores by tier, and the token where one is used.
#[derive(Clone, Debug, Serialize)]
pub struct CaKeys {
    /// `[ca.keys]`.
    #[serde(rename = "keys")]
    pub stores: TierStores,
    /// `[ca.pkcs11]`.
    pub pkcs11: Option<Pkcs11Settings>,
}

/// The key store of each tier.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct TierStores {
    /// `root`: "disk" or "pkcs11"; not used where the root is external.
    pub root: StoreKind,
    /// `intermediate`: "disk" or "pkcs11".
    pub intermediate: StoreKind,
    /// `issuing`: "disk", "pkcs11" or "memory".
    pub issuing: StoreKind,
}

/// Stores that keep a key when the process ends.
const LASTING: [StoreKind; 2] = [StoreKind::Disk, StoreKind::Pkcs11];
const ANY: [StoreKind; 3] = [StoreKind::Disk, StoreKind::Pkcs11, StoreKind::Memory];

/// CK_TOKEN_INFO has so many characters for it (PKCS#11 section 3.2).
const MAX_SERIAL: usize = 16;

impl CaKeys {
    pub(super) fn read(reader: &mut Reader, root: Root) -> Self {
        if root == Root::External && reader.contains("ca.keys.root") {
            reader.mistake(
                "ca.keys.root",
                "has no effect where ca.root is \"external\": its key is not here",
                "remove it",
            );
        }
        let stores = TierStores {
            root: store(reader, "ca.keys.root", &LASTING),
            intermediate: store(reader, "ca.keys.intermediate", &LASTING),
            issuing: store(reader, "ca.keys.issuing", &ANY),
        };
        let TierStores {
            root,
            intermediate,
            issuing,
        } = stores;
        let is_needed = [root, intermediate, issuing].contains(&StoreKind::Pkcs11);
        let pkcs11 = (is_needed || reader.contains("ca.pkcs11")).then(|| token(reader));
        Self {
            stores,
            pkcs11: pkcs11.flatten(),
        }
    }
}

fn store(reader: &mut Reader, key: &str, known: &[StoreKind]) -> StoreKind {
    let names: Vec<_> = known.iter().map(|kind| format!("{kind:?}")).collect();
    let remedy = format!("write one of {}", names.join(", ").to_lowercase());
    let read = reader.optional(key, &remedy, |text| {
        let named = known.iter().find(|kind| kind.as_str() == text);
        let lost = "would lose the key when the process ends";
        match named {
            Some(kind) => Ok(*kind),
            None if text == StoreKind::Memory.as_str() => Err(lost.to_owned()),
            None => Err("is no key store".to_owned()),
        }
    });
    read.unwrap_or(StoreKind::Disk)
}

fn token(reader: &mut Reader) -> Option<Pkcs11Settings> {
    let module = required_path(reader, "ca.pkcs11.module", "the path of the PKCS#11 module");
    let token =
        reader.required(
            "ca.pkcs11.token",
            "write the label of the token",
            |label| match label {
                "" => Err("is empty".to_owned()),
                label => Ok(label.to_owned()),
            },
        );
    let remedy =
        "write the serial number as `softhsm2-util --show-slots` or `pkcs11-tool -L` shows it";
    let serial = reader.optional("ca.pkcs11.serial", remedy, |serial| {
        let is_one = (1..=MAX_SERIAL).contains(&serial.len());
        let serial = is_one.then(|| serial.to_owned());
        serial.ok_or_else(|| format!("is empty, or longer than {MAX_SERIAL} characters"))
    });
    let pin_file = required_path(
        reader,
        "ca.pkcs11.pin_file",
        "the path of a file, mode 0600, that holds the PIN of the token's user",
    );
    Some(Pkcs11Settings {
        module: module?,
        token: token?,
        serial,
        pin_file: pin_file?,
    })
}

fn required_path(reader: &mut Reader, key: &str, what: &str) -> Option<std::path::PathBuf> {
    if !reader.contains(key) {
        reader.mistake(key, "is missing", format!("write {what}"));
    }
    reader.path(key, None)
}
