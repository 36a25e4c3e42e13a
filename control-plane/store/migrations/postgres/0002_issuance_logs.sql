-- The entries of issuance logs, each made by a commit as its changes are. They are never removed: tiles
-- and checkpoints of a log are made from them, also where the disk of the replica is lost.
CREATE TABLE countersign.log_entries (
    log_id     bigint NOT NULL,
    leaf_index bigint NOT NULL,
    seq        bigint NOT NULL,
    bytes      bytea  NOT NULL,
    PRIMARY KEY (log_id, leaf_index)
);
CREATE INDEX log_entries_by_seq ON countersign.log_entries (seq);

-- What was signed for an entry, by the commit that followed it. The first is kept.
CREATE TABLE countersign.log_signatures (
    log_id     bigint NOT NULL,
    leaf_index bigint NOT NULL,
    seq        bigint NOT NULL,
    bytes      bytea  NOT NULL,
    PRIMARY KEY (log_id, leaf_index)
);
CREATE INDEX log_signatures_by_seq ON countersign.log_signatures (seq);

-- The oldest commit whose changes are kept. A commit may change nothing, so the changes do not tell.
ALTER TABLE countersign.sequence ADD COLUMN oldest bigint NOT NULL DEFAULT 1;
UPDATE countersign.sequence
   SET oldest = COALESCE((SELECT MIN(seq) FROM countersign.changes), newest + 1);
