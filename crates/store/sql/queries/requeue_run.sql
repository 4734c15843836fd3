-- Back to the queue with the next attempt, to be claimed after $7 seconds; or to its end, if someone
-- wants it to stop ($8 says so for people). Code and evidence of the attempt that failed stay on the
-- event of this move, and on the row until the next claim.
UPDATE project_evaluation_runs
SET status = CASE WHEN cancel_requested_at IS NULL THEN 'queued' ELSE 'aborted' END,
    attempt = attempt + (cancel_requested_at IS NULL)::integer,
    phase = CASE WHEN cancel_requested_at IS NOT NULL THEN phase END,
    worker_id = CASE WHEN cancel_requested_at IS NOT NULL THEN worker_id END,
    heartbeat_at = CASE WHEN cancel_requested_at IS NOT NULL THEN heartbeat_at END,
    started_at = CASE WHEN cancel_requested_at IS NOT NULL THEN started_at END,
    finished_at = CASE WHEN cancel_requested_at IS NOT NULL THEN clock_timestamp() END,
    not_before = CASE WHEN cancel_requested_at IS NULL AND $7::double precision > 0
        THEN clock_timestamp() + make_interval(secs => $7::double precision) END,
    cause = CASE WHEN cancel_requested_at IS NOT NULL THEN 'platform' END,
    failure_code = CASE WHEN cancel_requested_at IS NULL THEN $5::text ELSE 'cancelled' END,
    evidence = CASE WHEN cancel_requested_at IS NULL THEN $6::jsonb ELSE $8::jsonb END
WHERE id = $1 AND attempt = $2 AND lease_epoch = $3 AND status = $4
RETURNING status AS "status!: Text<Status>"
