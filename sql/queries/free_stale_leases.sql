-- Ends the attempt of every lease that was not renewed for $1 seconds: back to the queue while
-- there are attempts left ($2 retries), else to its end. One statement: a lease that is renewed
-- meanwhile is not touched.
WITH stale AS (
    SELECT id, started_at,
        CASE
            WHEN cancel_requested_at IS NOT NULL THEN 'aborted'
            WHEN attempt <= $2 THEN 'queued'
            ELSE 'failed'
        END AS next
    FROM project_evaluation_runs
    WHERE status IN ('preparing', 'running', 'parsing')
      AND heartbeat_at < clock_timestamp() - make_interval(secs => $1)
    LIMIT 500
    FOR UPDATE SKIP LOCKED
)
UPDATE project_evaluation_runs AS run
SET status = stale.next,
    attempt = run.attempt + (stale.next = 'queued')::integer,
    phase = CASE WHEN stale.next <> 'queued' THEN run.phase END,
    worker_id = CASE WHEN stale.next <> 'queued' THEN run.worker_id END,
    heartbeat_at = CASE WHEN stale.next <> 'queued' THEN run.heartbeat_at END,
    started_at = CASE WHEN stale.next <> 'queued' THEN run.started_at END,
    finished_at = CASE WHEN stale.next <> 'queued' THEN clock_timestamp() END,
    cause = CASE stale.next WHEN 'aborted' THEN 'platform' WHEN 'failed' THEN 'infrastructure' END,
    failure_code = CASE stale.next WHEN 'aborted' THEN 'cancelled' ELSE 'worker_lost' END,
    evidence = $3
FROM stale
WHERE run.id = stale.id
RETURNING run.id, run.project_submission_id, run.organization_id, run.template, run.status AS "status: _",
    run.failure_code AS "failure_code: _", stale.started_at, clock_timestamp() AS "freed_at!"
