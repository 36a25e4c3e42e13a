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
