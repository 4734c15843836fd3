-- What is kept, and for how long.

-- One row for every archive that the blob store has, or may have: an archive is kept for so many days
-- after its last use. To delete one, the janitor holds its row; to use one again, the API writes to it.
-- So the two never overlap, and a row outlives its blob, never the other way round.
CREATE TABLE archives (
    sha256 text PRIMARY KEY CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    -- To within an hour, so that a class that hands in the same archive does not queue up for one row.
    last_used_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE INDEX archives_last_used ON archives (last_used_at, sha256);

INSERT INTO archives (sha256, last_used_at)
    SELECT archive_sha256, max(submitted_at) FROM project_submissions GROUP BY archive_sha256;

-- No submission without the row of its archive, whoever writes it.
CREATE FUNCTION use_archive() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM archives
        WHERE sha256 = NEW.archive_sha256 AND last_used_at > clock_timestamp() - interval '1 hour'
    ) THEN
        INSERT INTO archives (sha256) VALUES (NEW.archive_sha256)
        ON CONFLICT (sha256) DO UPDATE SET last_used_at = excluded.last_used_at;
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER submissions_use_archive AFTER INSERT ON project_submissions
    FOR EACH ROW EXECUTE FUNCTION use_archive();

-- Up to where a kind of data has been deleted: runs end in the order of time, so one mark is enough.
CREATE TABLE retention (
    what text PRIMARY KEY CHECK (what IN ('output')),
    finished_at timestamptz NOT NULL,
    run_id uuid NOT NULL
);

-- What ended longest ago.
CREATE INDEX runs_finished ON project_evaluation_runs (finished_at, id) WHERE finished_at IS NOT NULL;
-- Keys by age, and those of a submission that goes.
CREATE INDEX idempotency_keys_created ON idempotency_keys (created_at);
CREATE INDEX idempotency_keys_submission ON idempotency_keys (project_submission_id);
