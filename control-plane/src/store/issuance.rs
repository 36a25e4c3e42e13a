//! Rows of the issuance log.

use countersign_model::Serial;
use jiff::Timestamp;
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::{Seq, StoreError, parsed, signed, unsigned};

/// One to-be-signed certificate, what it is for, and its signature once made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IssuanceRow {
    /// Its coordinate in the log, also inside the serial.
    pub(crate) index: u64,
    /// The commit that made it durable; zero before.
    pub(crate) seq: Seq,
    pub(crate) serial: Serial,
    /// Name of the profile.
    pub(crate) profile: String,
    pub(crate) spiffe_id: String,
    /// The node that holds the key; empty for a CA.
    pub(crate) node: String,
    /// Which entitlement; empty for a CA.
    pub(crate) entitlement: String,
    pub(crate) spki_sha256: [u8; 32],
    /// Key id of the CA that signs.
    pub(crate) issuer: String,
    pub(crate) issued_at: Timestamp,
    /// NotAfter, whole seconds.
    pub(crate) not_after: Timestamp,
    /// The DER of the to-be-signed certificate.
    pub(crate) tbs: Vec<u8>,
    /// The DER of the certificate, where its signature was kept.
    pub(crate) certificate: Option<Vec<u8>>,
}

impl IssuanceRow {
    pub(super) fn from_row(row: &SqliteRow) -> Result<Self, StoreError> {
        let damaged = |what| StoreError::Damaged { what };
        let serial: &[u8] = row.try_get("serial")?;
        let spki_sha256: &[u8] = row.try_get("spki_sha256")?;
        let issued_at: i64 = row.try_get("issued_at")?;
        Ok(Self {
            index: unsigned(row.try_get("log_index")?),
            seq: Seq(unsigned(row.try_get("seq")?)),
            serial: Serial::from_bytes(serial).map_err(|_| damaged("serial"))?,
            profile: parsed(row, "profile")?,
            spiffe_id: parsed(row, "spiffe_id")?,
            node: parsed(row, "node")?,
            entitlement: parsed(row, "entitlement")?,
            spki_sha256: spki_sha256.try_into().map_err(|_| damaged("key hash"))?,
            issuer: parsed(row, "issuer")?,
            issued_at: Timestamp::from_nanosecond(issued_at.into())
                .map_err(|_| damaged("time of issue"))?,
            not_after: Timestamp::from_second(row.try_get("not_after")?)
                .map_err(|_| damaged("end"))?,
            tbs: row.try_get("tbs")?,
            certificate: row.try_get("certificate")?,
        })
    }

    pub(super) async fn insert(
        &self,
        seq: Seq,
        connection: &mut SqliteConnection,
    ) -> Result<(), sqlx::Error> {
        let issued_at = i64::try_from(self.issued_at.as_nanosecond()).unwrap_or(i64::MAX);
        sqlx::query("INSERT INTO issuance VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
            .bind(signed(self.index))
            .bind(signed(seq.0))
            .bind(&self.serial.as_bytes()[..])
            .bind(&self.profile)
            .bind(&self.spiffe_id)
            .bind(&self.node)
            .bind(&self.entitlement)
            .bind(&self.spki_sha256[..])
            .bind(&self.issuer)
            .bind(issued_at)
            .bind(self.not_after.as_second())
            .bind(&self.tbs)
            .bind(&self.certificate)
            .execute(connection)
            .await?;
        Ok(())
    }
}
