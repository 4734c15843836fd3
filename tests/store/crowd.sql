-- 100,000 runs of 1,000 organisations: 90,000 ended, 9,960 queued, 40 active (8 of them stale). One
-- organisation has every tenth run and a burst of 3,800 in the queue. Ids are UUIDv7 in the order
-- of time, a run's differs from its submission's in the version's last digits.

CREATE FUNCTION pg_temp.uuid_at(at timestamptz, salt text) RETURNS uuid LANGUAGE sql AS $$
    SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0')
        || '7' || substr(md5(salt), 1, 3) || '8' || substr(md5(salt), 4, 15))::uuid
$$;

CREATE TEMPORARY TABLE crowd AS
    SELECT n, at,
        CASE WHEN n % 10 = 0 OR n BETWEEN 92001 AND 95800 THEN 0 ELSE n % 1000 END AS organization,
        pg_temp.uuid_at(at, 'submission ' || n) AS submission_id,
        pg_temp.uuid_at(at, 'run ' || n) AS run_id,
        (ARRAY[1, 1, 2, 2, 2, 4])[1 + n % 6] AS half_slots,
        CASE
            WHEN n <= 90000 THEN CASE
                WHEN n % 20 < 16 THEN 'completed' WHEN n % 20 < 18 THEN 'failed'
                WHEN n % 20 < 19 THEN 'timed_out' ELSE 'aborted' END
            WHEN n <= 90040 THEN (ARRAY['preparing', 'running', 'running', 'parsing'])[1 + n % 4]
            ELSE 'queued'
        END AS status
    FROM (
        SELECT n, now() - interval '100 days' + n * interval '86 seconds' AS at FROM generate_series(1, 100000) AS n
    ) AS numbered;

INSERT INTO organizations (id, name)
    SELECT pg_temp.uuid_at(now() - interval '1 year', 'organization ' || n), 'school-' || n FROM generate_series(0, 999) AS n;

CREATE TEMPORARY TABLE schools AS SELECT id, substr(name, 8)::integer AS number FROM organizations;

INSERT INTO api_keys (id, organization_id, role, secret_sha256, created_at)
    SELECT gen_random_uuid(), id, 'submit', sha256(id::text::bytea), now() - n * interval '1 day'
    FROM schools, generate_series(1, 10) AS n;

INSERT INTO project_submissions
    (id, organization_id, user_ref, template, archive_sha256, archive_bytes, archive_entries, submitted_at)
    SELECT submission_id, schools.id, 'user-' || n % 20000, 'trivial', encode(sha256(n::text::bytea), 'hex'), n, 1, at
    FROM crowd JOIN schools ON number = organization ORDER BY n;

INSERT INTO idempotency_keys (organization_id, key, request_sha256, project_submission_id, created_at)
    SELECT schools.id, 'key-' || n, sha256(n::text::bytea), submission_id, at
    FROM crowd JOIN schools ON number = organization WHERE n % 2 = 0;

CREATE TEMPORARY TABLE crowd_runs (LIKE project_evaluation_runs INCLUDING DEFAULTS);

INSERT INTO crowd_runs
    (id, project_submission_id, organization_id, user_ref, template, half_slots, status, lease_epoch, worker_id,
     heartbeat_at, submitted_at, created_at, started_at, finished_at, cause, failure_code, evidence, verdict, score, max_score)
    SELECT run_id, submission_id, schools.id, 'user-' || n % 20000, 'trivial', half_slots, status,
        CASE WHEN begun THEN 1 ELSE 0 END,
        CASE WHEN begun THEN 'worker-' || n % 4 END,
        -- Those that are not stale do not become so while a slow test goes on.
        CASE WHEN ended THEN at WHEN begun THEN now() + CASE WHEN n % 5 = 0 THEN interval '-1 minute' ELSE '1 hour' END END,
        at, at,
        CASE WHEN begun THEN at END,
        CASE WHEN ended THEN at + interval '1 minute' END,
        CASE WHEN unscored THEN 'submission' END,
        CASE WHEN unscored THEN 'build_failed' END,
        CASE WHEN unscored THEN '{"message": "it broke"}'::jsonb END,
        CASE WHEN status = 'completed' THEN '{"score": 1, "max_score": 1, "tests": [], "integrity": "isolated"}'::jsonb END,
        CASE WHEN status = 'completed' THEN 1 END,
        CASE WHEN status = 'completed' THEN 1 END
    FROM crowd JOIN schools ON number = organization
    CROSS JOIN LATERAL (SELECT status <> 'queued', n <= 90000, n <= 90000 AND status <> 'completed')
        AS state (begun, ended, unscored)
    ORDER BY n;

-- Statistics are as old as a test wants them.
ALTER TABLE project_evaluation_runs SET (autovacuum_enabled = off);

-- Each run's first event is written by the trigger.
INSERT INTO project_evaluation_runs SELECT * FROM crowd_runs WHERE finished_at IS NOT NULL ORDER BY id;

INSERT INTO run_events (run_id, attempt, at, from_status, to_status)
    SELECT run_id, 1, at, moves.from_status, moves.to_status
    FROM crowd CROSS JOIN (VALUES ('queued', 'preparing'), ('preparing', 'running')) AS moves (from_status, to_status)
    WHERE n <= 90000 ORDER BY n;

-- Half of the blobs of artifacts are old enough to be looked at, and most are named by a run.
INSERT INTO artifact_blobs (sha256, last_used_at)
    SELECT lpad(n::text, 64, '0'), now() - interval '2 days' + n * interval '9 seconds' FROM generate_series(0, 20000) AS n;

INSERT INTO run_artifacts (run_id, origin, name, sha256, bytes, media_type, visibility)
    SELECT run_id, 'driver', name, lpad((n % 20000)::text, 64, '0'), 1, 'text/plain', 'visible'
    FROM crowd CROSS JOIN (VALUES ('a.txt'), ('b.txt')) AS files (name)
    WHERE status = 'completed' AND n <= 90000 AND n % 5 = 0 ORDER BY n;
