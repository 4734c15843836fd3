-- Files that runs handed out.

-- One row for every file that the blob store has, or may have, by its content. As with archives, a row is written before
-- its blob and outlives it: to delete one the janitor holds its row, and whoever stores the same content writes to it.
CREATE TABLE artifact_blobs (
    sha256 text PRIMARY KEY CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    last_used_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE INDEX artifact_blobs_last_used ON artifact_blobs (last_used_at, sha256);

-- Written with the end of the run, in the same statement.
CREATE TABLE run_artifacts (
    run_id uuid NOT NULL REFERENCES project_evaluation_runs (id) ON DELETE CASCADE,
    -- The cell that the file came from.
    origin text NOT NULL CHECK (origin IN ('driver', 'subject')),
    -- The path in that cell, without the first slash.
    name text NOT NULL CHECK (octet_length(name) BETWEEN 1 AND 512),
    sha256 text NOT NULL REFERENCES artifact_blobs (sha256),
    bytes bigint NOT NULL CHECK (bytes >= 0),
    -- Of a list, by the extension of the name.
    media_type text NOT NULL CHECK (length(media_type) BETWEEN 1 AND 100),
    visibility text NOT NULL CHECK (visibility IN ('visible', 'hidden', 'after_due_date', 'after_published')),
    PRIMARY KEY (run_id, origin, name)
);

-- Whether any run still names a blob.
CREATE INDEX run_artifacts_sha256 ON run_artifacts (sha256);

-- What a run did not hand out, and why: the number, and the first of them.
ALTER TABLE project_evaluation_runs
    ADD COLUMN artifacts_left_out jsonb CHECK (jsonb_typeof(artifacts_left_out) = 'object'),
    ADD CONSTRAINT runs_only_the_end_leaves_out CHECK (artifacts_left_out IS NULL OR finished_at IS NOT NULL);
