-- What is: the newest value of every key. `seq` is the commit that wrote it.
CREATE TABLE entries (
    kind  TEXT    NOT NULL,
    key   TEXT    NOT NULL,
    value TEXT    NOT NULL,
    seq   INTEGER NOT NULL,
    PRIMARY KEY (kind, key)
) WITHOUT ROWID;

-- What changed, in commit order. A NULL value is a removal.
CREATE TABLE changes (
    id    INTEGER PRIMARY KEY,
    seq   INTEGER NOT NULL,
    kind  TEXT    NOT NULL,
    key   TEXT    NOT NULL,
    value TEXT
);
CREATE INDEX changes_by_seq ON changes (seq);

-- The issuance log: appended before a signature is made, never updated but for the signature.
CREATE TABLE issuance (
    log_index   INTEGER PRIMARY KEY,
    seq         INTEGER NOT NULL,
    serial      BLOB    NOT NULL,
    profile     TEXT    NOT NULL,
    spiffe_id   TEXT    NOT NULL,
    node        TEXT    NOT NULL,
    entitlement TEXT    NOT NULL,
    spki_sha256 BLOB    NOT NULL,
    issuer      TEXT    NOT NULL,
    issued_at   INTEGER NOT NULL, -- nanoseconds since the epoch
    not_after   INTEGER NOT NULL, -- seconds since the epoch
    tbs         BLOB    NOT NULL,
    certificate BLOB
);
CREATE INDEX issuance_by_end ON issuance (not_after);
