-- What the program that writes under a name can read, as the process that took the row (`run`) said it. One that
-- took it and said nothing, as programs before this version do, speaks the first level.
ALTER TABLE countersign.writers ADD COLUMN speaks integer, ADD COLUMN speaks_run uuid;

-- Whoever cannot read what the level lets others write takes no row, so it writes nothing and is no control
-- plane. The level stands still while a row is taken: who raises it locks what is read here.
CREATE FUNCTION countersign.writer_reads_level() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    level integer;
    speaks integer := COALESCE(CASE WHEN NEW.speaks_run = NEW.run THEN NEW.speaks END, 1);
BEGIN
    SELECT oldest INTO level FROM countersign.schema FOR SHARE;
    IF speaks < level AND NEW.instance <> 'fenced out' THEN
        RAISE EXCEPTION 'the database is at level %, and this program reads level % and below', level, speaks
            USING HINT = 'install the newer release', ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER writer_reads_level BEFORE INSERT OR UPDATE OF run ON countersign.writers
    FOR EACH ROW EXECUTE FUNCTION countersign.writer_reads_level();

-- What tells the batch that made a commit the newest from another one in its place: a mark, drawn for it alone. A
-- database that has the mark of a commit holds everything up to there as it was made. One that was put back, or a
-- standby that had not everything, has another one or none, however far it has grown since. Programs before this
-- version write to the sequence alone, so a trigger draws it, by the right of whoever owns the tables.
ALTER TABLE countersign.sequence ADD COLUMN mark uuid NOT NULL DEFAULT gen_random_uuid();
CREATE TABLE countersign.marks (
    seq  bigint PRIMARY KEY,
    mark uuid   NOT NULL
);
INSERT INTO countersign.marks (seq, mark) SELECT newest, mark FROM countersign.sequence;

CREATE FUNCTION countersign.mark_newest() RETURNS trigger LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NEW.newest > OLD.newest THEN
        NEW.mark := gen_random_uuid();
        INSERT INTO countersign.marks (seq, mark) VALUES (NEW.newest, NEW.mark);
    END IF;
    IF NEW.oldest > OLD.oldest THEN
        DELETE FROM countersign.marks WHERE seq < NEW.oldest;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER mark_newest BEFORE UPDATE ON countersign.sequence
    FOR EACH ROW EXECUTE FUNCTION countersign.mark_newest();
