//! `[api]`: the sidecar API.

use std::net::SocketAddr;

use countersign_cli::{Key, Reader};
use countersign_model::address::HttpsAddress;
use serde::Serialize;

use super::Store;

const LISTEN: Key = Key::new(
    "api.listen",
    "Where sidecars connect, with TLS 1.3. Port 0 takes a free port, which `countersign status` \
     tells.",
);
const ADVERTISE: Key = Key::new(
    "api.advertise",
    "Where sidecars reach this control plane among those that share a database: the sidecars of all of \
     them are told. Nobody is told if it is not set.",
)
.of("https://host:port");

const ADVERTISE_REMEDY: &str = "write the address that sidecars use, such as \"https://cp-b:8443\"";

/// Where sidecars reach the control plane.
#[derive(Clone, Debug, Serialize)]
pub struct Api {
    /// `listen`: TLS 1.3 only; port 0 takes a free one.
    pub listen: SocketAddr,
    /// `advertise`: `https://host:port`, as the sidecars of all are told.
    pub advertise: Option<String>,
}

impl Api {
    pub(super) fn read(reader: &mut Reader, store: &Store) -> Option<Self> {
        let default = SocketAddr::from(([127, 0, 0, 1], 8443));
        let advertise = reader.optional(&ADVERTISE, ADVERTISE_REMEDY, |text| {
            let address = text.parse::<HttpsAddress>();
            address
                .map(|it| it.to_string())
                .map_err(|error| error.to_string())
        });
        if advertise.is_some() && store.database.is_none() {
            let remedy = "remove it, or set store.url";
            reader.mistake(ADVERTISE, "has no effect without store.url", remedy);
        }
        Some(Self {
            listen: reader.address(&LISTEN, default)?,
            advertise,
        })
    }
}
