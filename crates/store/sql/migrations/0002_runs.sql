-- Submissions, their runs, and every move of every run.

CREATE TABLE project_submissions (
    id uuid PRIMARY KEY,
    organization_id uuid NOT NULL REFERENCES organizations (id),
    user_ref text NOT NULL CHECK (length(user_ref) BETWEEN 1 AND 200),
    template text NOT NULL CHECK (length(template) BETWEEN 1 AND 64),
    archive_sha256 text NOT NULL CHECK (archive_sha256 ~ '^[0-9a-f]{64}$'),
    archive_bytes bigint NOT NULL CHECK (archive_bytes > 0),
    archive_entries bigint NOT NULL CHECK (archive_entries > 0),
    metadata jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(metadata) = 'object'),
    submitted_at timestamptz NOT NULL DEFAULT now()
);

-- The first request that used a key, and what it asked for.
CREATE TABLE idempotency_keys (
    organization_id uuid NOT NULL REFERENCES organizations (id),
    key text NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
    request_sha256 bytea NOT NULL CHECK (length(request_sha256) = 32),
    project_submission_id uuid NOT NULL REFERENCES project_submissions (id),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (organization_id, key)
);

-- Heartbeats touch no indexed column: with room left on each page they stay heap-only updates.
CREATE TABLE project_evaluation_runs (
    id uuid PRIMARY KEY,
    project_submission_id uuid NOT NULL REFERENCES project_submissions (id),
    organization_id uuid NOT NULL REFERENCES organizations (id),
    user_ref text NOT NULL,
    template text NOT NULL,
    half_slots integer NOT NULL CHECK (half_slots IN (1, 2, 4)),
    status text NOT NULL DEFAULT 'queued' CHECK (status IN (
        'queued', 'preparing', 'running', 'parsing', 'completed', 'failed', 'timed_out', 'aborted')),
    phase text CHECK (phase IN ('install', 'build', 'start', 'tests')),
    attempt integer NOT NULL DEFAULT 1 CHECK (attempt BETWEEN 1 AND 3),
    lease_epoch bigint NOT NULL DEFAULT 0,
    worker_id text,
    heartbeat_at timestamptz,
    cancel_requested_at timestamptz,
    submitted_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz,
    finished_at timestamptz,
    cause text CHECK (cause IN ('submission', 'grader', 'infrastructure', 'platform')),
    failure_code text CHECK (length(failure_code) BETWEEN 1 AND 64),
    evidence jsonb,
    verdict jsonb,
    score double precision,
    max_score double precision,

    CONSTRAINT runs_terminal_has_an_end CHECK (
        (status IN ('completed', 'failed', 'timed_out', 'aborted')) = (finished_at IS NOT NULL)),
    CONSTRAINT runs_active_has_a_lease CHECK (
        status NOT IN ('preparing', 'running', 'parsing')
        OR (lease_epoch > 0 AND worker_id IS NOT NULL AND heartbeat_at IS NOT NULL AND started_at IS NOT NULL)),
    CONSTRAINT runs_queued_has_no_lease CHECK (
        status <> 'queued' OR (worker_id IS NULL AND heartbeat_at IS NULL)),
    CONSTRAINT runs_completed_has_a_verdict CHECK (
        (status = 'completed') = (verdict IS NOT NULL AND score IS NOT NULL AND max_score IS NOT NULL)),
    CONSTRAINT runs_unscored_end_has_a_cause CHECK (
        (status IN ('failed', 'timed_out', 'aborted'))
        = (cause IS NOT NULL AND failure_code IS NOT NULL AND evidence IS NOT NULL))
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.05);

CREATE INDEX runs_organization_status ON project_evaluation_runs (organization_id, status, submitted_at);
CREATE INDEX runs_submission ON project_evaluation_runs (project_submission_id, created_at DESC);
CREATE INDEX runs_status ON project_evaluation_runs (status, created_at);
-- Lists of one organisation, newest first; ids are UUIDv7 and so in the order of time.
CREATE INDEX runs_organization ON project_evaluation_runs (organization_id, id DESC);
-- The heads of the queue, one probe per class.
CREATE INDEX runs_queue ON project_evaluation_runs (half_slots, submitted_at, id) WHERE status = 'queued';
-- A worker's leases, and all that is active.
CREATE INDEX runs_leases ON project_evaluation_runs (worker_id)
    WHERE status IN ('preparing', 'running', 'parsing');

CREATE TABLE run_events (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id uuid NOT NULL REFERENCES project_evaluation_runs (id),
    attempt integer NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    from_status text,
    to_status text NOT NULL,
    phase text,
    failure_code text,
    evidence jsonb
);

CREATE INDEX run_events_run ON run_events (run_id, id);

-- The legal moves. src/run/state.rs has the same table; a test compares all 64 pairs.
-- It fires whenever a statement writes `status`, so writing the same status again is refused too.
CREATE FUNCTION check_run_move() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT (CASE OLD.status
        WHEN 'queued' THEN NEW.status IN ('preparing', 'aborted')
        WHEN 'preparing' THEN NEW.status IN ('running', 'failed', 'timed_out', 'aborted', 'queued')
        WHEN 'running' THEN NEW.status IN ('parsing', 'failed', 'timed_out', 'aborted', 'queued')
        WHEN 'parsing' THEN NEW.status IN ('completed', 'failed', 'timed_out', 'aborted', 'queued')
        ELSE false
    END) THEN
        RAISE EXCEPTION 'run % cannot move from % to %', OLD.id, OLD.status, NEW.status
            USING ERRCODE = 'check_violation', CONSTRAINT = 'runs_move';
    END IF;
    IF NEW.attempt <> OLD.attempt + (NEW.status = 'queued')::integer THEN
        RAISE EXCEPTION 'run % moves to % with attempt %, it had %', OLD.id, NEW.status, NEW.attempt, OLD.attempt
            USING ERRCODE = 'check_violation', CONSTRAINT = 'runs_move';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER runs_move BEFORE UPDATE OF status ON project_evaluation_runs
    FOR EACH ROW EXECUTE FUNCTION check_run_move();

-- What ended stays as it ended.
CREATE FUNCTION keep_ended_run() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'run % has ended as %', OLD.id, OLD.status
        USING ERRCODE = 'check_violation', CONSTRAINT = 'runs_move';
END $$;

CREATE TRIGGER runs_ended BEFORE UPDATE ON project_evaluation_runs
    FOR EACH ROW WHEN (OLD.finished_at IS NOT NULL) EXECUTE FUNCTION keep_ended_run();

-- The only writer of run_events: no move can be made without its event.
CREATE FUNCTION record_run_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO run_events (run_id, attempt, from_status, to_status, phase, failure_code, evidence)
    VALUES (NEW.id,
            CASE WHEN NEW.status = 'queued' AND TG_OP = 'UPDATE' THEN OLD.attempt ELSE NEW.attempt END,
            CASE WHEN TG_OP = 'UPDATE' THEN OLD.status END,
            NEW.status, NEW.phase, NEW.failure_code, NEW.evidence);
    RETURN NULL;
END $$;

CREATE TRIGGER runs_queued AFTER INSERT ON project_evaluation_runs
    FOR EACH ROW EXECUTE FUNCTION record_run_event();

CREATE TRIGGER runs_moved AFTER UPDATE OF status, phase ON project_evaluation_runs
    FOR EACH ROW
    WHEN (OLD.status IS DISTINCT FROM NEW.status OR OLD.phase IS DISTINCT FROM NEW.phase)
    EXECUTE FUNCTION record_run_event();
