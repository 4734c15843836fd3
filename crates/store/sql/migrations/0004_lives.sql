-- What a run needs to outlive its workers, and which workers there are.

ALTER TABLE project_evaluation_runs
    -- A retry waits until then; claims clear it when its time has come, so NULL is "at once".
    ADD COLUMN not_before timestamptz,
    -- Workers that died while they held this run. At 3 it is taken to be what kills them, and ends.
    ADD COLUMN crashes integer NOT NULL DEFAULT 0 CHECK (crashes BETWEEN 0 AND 3),
    ADD CONSTRAINT runs_only_queued_waits CHECK (not_before IS NULL OR status = 'queued');

CREATE INDEX runs_not_before ON project_evaluation_runs (not_before) WHERE not_before IS NOT NULL;

-- Every worker process that lives, by its own word: renewed with its leases, gone when it stops. A row
-- that was not renewed for 30 s is a worker that died. Only for explaining: no claim depends on it.
CREATE TABLE workers (
    id text PRIMARY KEY,
    half_slots integer NOT NULL CHECK (half_slots > 0),
    state text NOT NULL CHECK (state IN ('claiming', 'host_pressure', 'paused', 'draining')),
    -- What holds it back, for people.
    detail text NOT NULL DEFAULT '',
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 50);
