-- Back to the queue with the next attempt. Code and evidence of the attempt that failed stay on
-- the event of this move, and on the row until the next claim.
UPDATE project_evaluation_runs
SET status = 'queued', attempt = attempt + 1, phase = NULL, worker_id = NULL, heartbeat_at = NULL, started_at = NULL,
    failure_code = $5, evidence = $6
WHERE id = $1 AND attempt = $2 AND lease_epoch = $3 AND status = $4
