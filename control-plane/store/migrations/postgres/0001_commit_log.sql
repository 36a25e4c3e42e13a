-- The newest commit. Its row is locked for as long as a transaction of commits lasts, so the order
-- of commits is that in which they become visible: no number is skipped, none comes late.
CREATE TABLE countersign.sequence (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    newest   bigint  NOT NULL
);
INSERT INTO countersign.sequence (newest) VALUES (0);

-- What is: the newest value of every key. `seq` is the commit that wrote it.
CREATE TABLE countersign.entries (
    kind  text   NOT NULL,
    key   text   NOT NULL,
    value text   NOT NULL,
    seq   bigint NOT NULL,
    PRIMARY KEY (kind, key)
);

-- What changed, in commit order. A NULL value is a removal.
CREATE TABLE countersign.changes (
    seq      bigint  NOT NULL,
    position integer NOT NULL,
    kind     text    NOT NULL,
    key      text    NOT NULL,
    value    text,
    PRIMARY KEY (seq, position)
);

-- Who writes, and the number of its newest batch. A batch whose answer was lost is found by it, and
-- a second process with the name of the first is told apart: `run` is new for each that takes the row.
CREATE TABLE countersign.writers (
    name     text   PRIMARY KEY,
    instance text   NOT NULL,
    run      uuid   NOT NULL DEFAULT gen_random_uuid(),
    batch    bigint NOT NULL
);
