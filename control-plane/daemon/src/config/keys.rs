//! `[ca.keys]` and `[ca.pkcs11]`: where the keys of the CAs live.

use countersign_authority::{Pkcs11Settings, StoreKind};
use countersign_cli::{Key, Reader};
use serde::Serialize;

use super::ca::Root;

const ROOT: Key = Key::new("ca.keys.root", "Where the key of the root is kept.");
const INTERMEDIATE: Key = Key::new(
    "ca.keys.intermediate",
    "Where the key of the intermediate is kept.",
);
const ISSUING: Key = Key::new(
    "ca.keys.issuing",
    "Where the key of the issuing CA is kept. One that is in memory is lost with the process, and \
     another CA is made at the next start.",
);
const MODULE: Key = Key::new(
    "ca.pkcs11.module",
    "The PKCS#11 module, a shared library that is loaded into this process.",
)
.by_default(WHERE_USED);
const TOKEN: Key = Key::new("ca.pkcs11.token", "The label of the token.")
    .of("label")
    .by_default(WHERE_USED);
const SERIAL: Key = Key::new(
    "ca.pkcs11.serial",
    "The serial number of the token: tells tokens of one label apart.",
)
.of("serial number")
.within("1 to 16 characters");
const PIN_FILE: Key = Key::new(
    "ca.pkcs11.pin_file",
    "A file, mode 0600, that holds the PIN of the token's user. The PIN itself is never in the \
     configuration.",
)
.by_default(WHERE_USED);

/// A token is described where one is used.
const WHERE_USED: &str = "required where a key store is `pkcs11`";

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
        if root == Root::External && reader.contains(ROOT) {
            reader.mistake(
                ROOT,
                "has no effect where ca.root is \"external\": its key is not here",
                "remove it",
            );
        }
        let stores = TierStores {
            root: store(reader, &ROOT, &LASTING),
            intermediate: store(reader, &INTERMEDIATE, &LASTING),
            issuing: store(reader, &ISSUING, &ANY),
        };
        let TierStores {
            root,
            intermediate,
            issuing,
        } = stores;
        let is_needed = [root, intermediate, issuing].contains(&StoreKind::Pkcs11);
        let pkcs11 = (is_needed || reader.reads("ca.pkcs11")).then(|| token(reader));
        Self {
            stores,
            pkcs11: pkcs11.flatten(),
        }
    }
}

fn store(reader: &mut Reader, key: &Key, known: &[StoreKind]) -> StoreKind {
    let choices: Vec<_> = known.iter().map(|kind| (kind.as_str(), *kind)).collect();
    let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
    let mut remedy = format!("write one of {}", names.join(", "));
    if !known.contains(&StoreKind::Memory) {
        remedy += "; \"memory\" would lose the key when the process ends";
    }
    reader.choice(key, StoreKind::Disk, &choices, &remedy)
}

fn token(reader: &mut Reader) -> Option<Pkcs11Settings> {
    let module = reader.required_path(&MODULE, "the path of the PKCS#11 module");
    let token = reader.required(
        &TOKEN,
        "write the label of the token",
        |label| match label {
            "" => Err("is empty".to_owned()),
            label => Ok(label.to_owned()),
        },
    );
    let remedy =
        "write the serial number as `softhsm2-util --show-slots` or `pkcs11-tool -L` shows it";
    let serial = reader.optional(&SERIAL, remedy, |serial| {
        let is_one = (1..=MAX_SERIAL).contains(&serial.len());
        let serial = is_one.then(|| serial.to_owned());
        serial.ok_or_else(|| format!("is empty, or longer than {MAX_SERIAL} characters"))
    });
    let pin_file = reader.required_path(
        &PIN_FILE,
        "the path of a file, mode 0600, that holds the PIN of the token's user",
    );
    Some(Pkcs11Settings {
        module: module?,
        token: token?,
        serial,
        pin_file: pin_file?,
    })
}
