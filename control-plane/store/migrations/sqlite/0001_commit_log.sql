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
